"""Importance of axes against functions whose shares are known, and what is said where nothing can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from longlag.analysis import importance
from longlag.analysis.importance import Importance, importances
from longlag.analysis.result import StudyResult, TrialResult
from longlag.spec import load_study
from longlag.study import space

Point = dict[str, Any]


def study(axes: dict[str, Any], function: Callable[[Point], float], trials: int, **fields: Any) -> StudyResult:
    """A random search over a function instead of runs."""
    spec = load_study({"name": "x", "base": {"task": "adding"}, "space": axes, "trials": trials, **fields})
    found: list[TrialResult] = []

    def objective(trial: optuna.Trial) -> float:
        point = space.suggest(trial, spec.space)
        value = function(point)
        values = dict.fromkeys(spec.objectives, value)
        found.append(
            TrialResult(
                number=trial.number, point=point, state="complete", objective=value, objectives=values, reason="",
                runs=(), run_ids=(),
            )
        )  # fmt: skip
        return value

    optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)).optimize(objective, n_trials=trials)
    rest = {
        "updates": 0,
        "hours": 0.0,
        "finished": True,
        "experiment": "",
        "tracking_uri": "",
        "directions": spec.directions,
    }
    return StudyResult(spec=spec, trials=tuple(found), total=trials, **rest)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "RESAMPLES", {"fanova": 3, "ped-anova": 20})


def by(found: list[Importance], method: str) -> dict[str, Importance]:
    return {each.axis: each for each in found if each.method == method}


AXES: dict[str, Any] = {
    "cell": ["rnn", "lstm"],
    "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "clip.norm": {"low": 0.01, "high": 1.0},
}


def test_the_shares_of_a_sum_are_those_of_its_parts() -> None:
    """c in {0, 1} with probability 1/2, u uniform in [0, 1]: var c = 1/4, var (3 u) = 9/12, so 1/4 and 3/4.

    Of the ranks it is the same to some hundredths, since c + 3u is nearly uniform. On a linear axis instead of a
    logarithmic one the share of the rate would be less than 0.5.
    """

    def function(point: Point) -> float:
        return (point["cell"] == "rnn") + (math.log10(point["optimizer.lr"]) + 4)

    found = by(importances(study(AXES, function, 150)), "fanova")
    assert found["cell"].share == pytest.approx(0.25, abs=0.1)
    assert found["optimizer.lr"].share == pytest.approx(0.75, abs=0.1)
    assert found["clip.norm"].share == pytest.approx(0.0, abs=0.05)
    for each in found.values():
        assert each.share is not None and each.low is not None and each.high is not None
        assert 0 <= each.low <= each.share <= each.high <= 1
        assert each.trials == 150


def test_what_it_takes_to_be_among_the_best_is_another_question() -> None:
    """The cell moves half of the result, the rate decides which is best."""

    def function(point: Point) -> float:
        return 1000.0 * (point["cell"] == "rnn") - math.log10(point["optimizer.lr"])

    found = by(importances(study(AXES, function, 200)), "ped-anova")
    shares = {path: each.share or 0 for path, each in found.items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["optimizer.lr"] > shares["cell"] > shares["clip.norm"]


def test_diverged_trials_count_as_the_worst() -> None:
    """Above 1e-2 everything diverges, and nothing else matters: without them there would be no variance at all."""
    result = study(AXES, lambda point: math.inf if point["optimizer.lr"] > 1e-2 else 0.5, 60)
    found = by(importances(result), "fanova")
    assert found["optimizer.lr"].share == pytest.approx(1.0, abs=0.1)
    assert (found["cell"].share or 0) < 0.1


def test_an_axis_with_a_condition_is_judged_where_it_exists() -> None:
    axes = {**AXES, "cell.forget_bias": {"when": {"cell": "lstm"}, "low": 0.0, "high": 5.0}}
    result = study(axes, lambda p: p.get("cell.forget_bias", 0.0) + (10 if p["cell"] == "rnn" else 0), 80)
    both = importances(result)
    found = by(both, "fanova")
    there = sum("cell.forget_bias" in trial.point for trial in result.trials)
    assert (found["cell.forget_bias"].where, found["cell.forget_bias"].trials) == ("cell lstm", there)
    assert found["cell.forget_bias"].share == pytest.approx(1.0, abs=0.1)
    assert (found["cell"].where, found["cell"].trials) == ("", 80)
    assert (by(both, "ped-anova")["cell.forget_bias"].share or 0) > 0.3


def test_too_few_trials_give_a_sentence_and_no_number() -> None:
    found = importances(study(AXES, lambda point: point["clip.norm"], 11))
    assert {each.share for each in found} == {None}
    assert {each.reason for each in found if each.method == "fanova"} == {"11 trials; fANOVA needs 12"}
    found = importances(study(AXES, lambda point: 1.0, 40))
    assert {each.reason for each in found} == {"the objective is the same in all trials"}
    assert {each.low for each in found} == {None}


def test_every_objective_has_its_own_and_single_values_are_no_axes() -> None:
    axes = {**AXES, "model.depth": [1]}
    found = importances(study(axes, lambda point: point["clip.norm"], 40, objectives=["score", "seconds"]))
    assert {(each.objective, each.axis) for each in found} == {
        (objective, axis) for objective in ("score", "seconds") for axis in AXES
    }
