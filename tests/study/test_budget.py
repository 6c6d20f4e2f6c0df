"""What ends a study, what it begins with, and what it wants to be small."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import longlag
from longlag import report
from longlag.analysis.result import StudyResult
from longlag.errors import UserError
from longlag.objectives import mean
from longlag.objectives.cost import NEVER
from longlag.spec import RunSpec, load_study
from longlag.study import budget, progress
from longlag.study.callback import StudyCallback
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.training import RunResult
from longlag.workers import runner


@pytest.fixture
def study(tiny: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """A random search under a name of its own, and with data of its own: runs of four updates."""
    name = request.node.name.replace("[", "-").replace("]", "")[:90]
    base = {**tiny, "data": {**tiny["data"], "seed": zlib.crc32(name.encode())}}
    lr = {"low": 1e-4, "high": 1e-2, "log": True}
    return {"name": name, "base": base, "space": {"optimizer.lr": lr}, "sampler": {"name": "random"}}


class Stops(StudyCallback):
    """Ctrl-C in a run."""

    def __init__(self, run: int) -> None:
        self.runs, self.run = 0, run

    def run_started(self, spec: RunSpec) -> None:
        self.runs += 1

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        if self.runs == self.run:
            raise KeyboardInterrupt


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_no_trial_begins_after_the_updates_are_used_up(study: dict[str, Any], shared_home: Path) -> None:
    search = {**study, "seeds": [0, 1], "total_updates": 20}  # a trial makes 2 x 4
    result = longlag.sweep(search, home=shared_home)
    assert (len(result.trials), result.updates, result.total) == (3, 24, None)
    assert (result.finished, result.remaining) == (True, 0)
    again = longlag.sweep(search, home=shared_home)
    assert len(again.trials) == 3
    more = longlag.sweep({**search, "total_updates": 25}, home=shared_home)
    assert (len(more.trials), more.updates) == (4, 32)
    assert report(study["name"], home=shared_home).updates == 32


def test_a_trial_that_was_cut_short_counts_once(study: dict[str, Any], shared_home: Path) -> None:
    search = {**study, "seeds": [0, 1], "total_updates": 20}
    with pytest.raises(KeyboardInterrupt):
        longlag.sweep(search, home=shared_home, callbacks=[Stops(4)])  # in the second seed of the second trial
    interim = report(study["name"], home=shared_home)
    assert [trial.state for trial in interim.trials] == ["complete", "waiting"]
    assert (interim.updates, interim.finished) == (8, False)
    result = longlag.sweep(search, home=shared_home)
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    assert result.updates == sum(run.updates for trial in result.trials for run in trial.runs) == 24


def test_what_running_trials_may_still_need_is_held_back() -> None:
    spec = load_study({"name": "x", "base": {"task": "adding", "cell": "rnn"}, "total_updates": 100, "hours": 2})
    assert budget.Spent(updates=50, held=49).room(spec)
    assert not budget.Spent(updates=50, held=50).room(spec)
    assert not budget.Spent(hours=2.0).room(spec)
    assert budget.Spent(updates=50, hours=0.5).share(spec) == 0.5


def test_hours_are_those_in_which_a_trial_was_running() -> None:
    """Two side by side, a pause, one that was killed and found much later, and one that runs now."""
    at = 1_700_000_000.0

    def trial(number: int, state: TrialState, start: float, end: float | None, **attributes: Any) -> FrozenTrial:
        return FrozenTrial(
            number=number, trial_id=number, state=state, params={}, distributions={}, user_attrs=attributes,
            value=0.0 if state is TrialState.COMPLETE else None, system_attrs={}, intermediate_values={},
            datetime_start=datetime.fromtimestamp(start),
            datetime_complete=None if end is None else datetime.fromtimestamp(end),
        )  # fmt: skip

    done = [
        trial(0, TrialState.COMPLETE, at, at + 3600, lived=3600),
        trial(1, TrialState.COMPLETE, at + 1800, at + 5400, lived=3600),
        trial(2, TrialState.FAIL, at + 10_000, at + 900_000, lived=900),  # killed; found days later
    ]
    assert budget.spent(done, done).hours == pytest.approx((5400 + 900) / 3600)
    left = [*done, trial(3, TrialState.RUNNING, at + 20_000, None, lived=360, updates=10, holds=40)]
    gone = budget.spent(left, left)
    assert gone.hours == pytest.approx((5400 + 900 + 360) / 3600)
    assert (gone.updates, gone.held) == (10, 30)


def test_no_trial_begins_after_the_hours_are_used_up(study: dict[str, Any], shared_home: Path) -> None:
    result = longlag.sweep({**study, "hours": 1e-6, "trials": 5}, home=shared_home)
    assert len(result.trials) == 1
    assert result.hours > 1e-6
    assert result.finished
    result = longlag.sweep({**study, "hours": 1, "trials": 3}, home=shared_home)
    assert len(result.trials) == 3


def test_a_study_that_only_fails_ends_without_a_number_of_trials(
    study: dict[str, Any], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **named: Any) -> RunResult:
        raise MemoryError("no room")

    monkeypatch.setattr(runner, "train", broken)
    monkeypatch.setattr(progress, "FAILURES", 3)
    with pytest.raises(UserError, match=r"the last 3 trials failed .out of memory: .*no number of trials"):
        longlag.sweep({**study, "total_updates": 1000}, home=shared_home)


def test_a_space_that_has_an_end_needs_no_more_trials_than_points(study: dict[str, Any], shared_home: Path) -> None:
    search = {**study, "space": {"model.depth": [1, 2]}, "hours": 1}
    assert longlag.sweep(search, home=shared_home).total == 2


# -- known points -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "grid", "tpe"])
def test_known_points_come_first_in_their_order_and_once(
    sampler: str, study: dict[str, Any], shared_home: Path
) -> None:
    space = {"cell": ["rnn", {"name": "lstm", "forget_bias": 3}], "model.depth": [1, 2, 3]}
    known = [{"cell": "lstm", "model.depth": 3}, {"cell": "rnn", "model.depth": 2}]
    search = {**study, "space": space, "enqueue": known, "sampler": {"name": sampler}, "trials": 3}
    result = longlag.sweep(search, home=shared_home)
    first = sorted(result.trials, key=lambda trial: trial.number)
    assert [trial.point for trial in first[:2]] == [
        {"cell": {"name": "lstm", "forget_bias": 3}, "model.depth": 3},
        {"cell": "rnn", "model.depth": 2},
    ]
    more = [*known, {"model.depth": 1}]
    again = longlag.sweep({**search, "enqueue": more, "trials": 4}, home=shared_home)
    assert len(again.trials) == 4
    if sampler == "grid":
        assert len({repr(trial.point) for trial in again.trials}) == 4


@pytest.mark.parametrize(
    ("point", "sentence"),
    [
        ({"cel": "rnn"}, "point 1: there is no axis 'cel' in the space; did you mean 'cell'"),
        ({"cell": "lstn"}, "point 1: cell has no value lstn; did you mean 'lstm'"),
        ({"optimizer.lr": 1.0}, "optimizer.lr is a number from 0.001 to 0.1, not 1.0"),
        ({"model.depth": 1.5}, "model.depth is a whole number from 1 to 3, not 1.5"),
        ({"cell.forget_bias": 1}, "cell.forget_bias exists for some values of cell only; give cell too"),
        ({"cell": "rnn", "cell.forget_bias": 1}, "cell.forget_bias does not exist with cell rnn"),
        ({"clip.norm": 0.3}, "from 0.0 to 1.0 in steps of 0.25, not 0.3"),
    ],
)
def test_a_point_that_is_not_in_the_space_is_refused(point: dict[str, Any], sentence: str) -> None:
    space = {
        "cell": ["rnn", "lstm"],
        "cell.forget_bias": {"when": {"cell": "lstm"}, "values": [0, 1]},
        "optimizer.lr": {"low": 1e-3, "high": 1e-1, "log": True},
        "model.depth": {"low": 1, "high": 3},
        "clip.norm": {"low": 0.0, "high": 1.0, "step": 0.25, "when": {"model.depth": 2}},
    }
    study = {"name": "x", "base": {"task": "adding"}, "space": space, "trials": 5, "enqueue": [point]}
    with pytest.raises(UserError, match=sentence):
        load_study(study)


# -- several objectives -----------------------------------------------------------------------------------------------


def dominated(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "qmc", "gp"])
def test_every_sampler_takes_several_objectives_and_the_front_is_what_no_trial_beats(
    sampler: str, study: dict[str, Any], shared_home: Path
) -> None:
    space = {"optimizer": [{"name": "sgd", "lr": 1e30}, {"name": "adam", "lr": 1e-3}], "model.hidden_size": [2, 4, 8]}
    names = ("score", "parameters", "updates_to_solved")
    search = {**study, "space": space, "sampler": {"name": sampler}, "trials": 6, "objectives": names}
    result = longlag.sweep(search, home=shared_home)
    assert {trial.state for trial in result.trials} == {"complete"}
    values = {trial.number: tuple(trial.objectives[name] for name in names) for trial in result.trials}
    by_hand = {n for n, mine in values.items() if not any(dominated(mine, other) for other in values.values())}
    assert set(result.front) == by_hand
    for trial in result.trials:
        diverged = trial.point["optimizer"]["lr"] > 1
        assert (trial.objectives["score"] == trial.objectives["parameters"] == math.inf) == diverged
        assert trial.objectives["updates_to_solved"] == NEVER * 4  # nobody learns in four updates
        assert trial.objective == trial.objectives["score"]
    if any(math.isfinite(trial.objectives["score"]) for trial in result.trials):
        assert all(math.isfinite(values[number][0]) for number in result.front)
        assert result.best is not None
        assert result.best.number in result.front
    assert report(study["name"], home=shared_home).model_dump_json() == result.model_dump_json()


def test_the_mean_over_seeds_counts_every_one(tiny: dict[str, Any], shared_home: Path) -> None:
    run = longlag.run(tiny, home=shared_home)
    solved = run.model_copy(update={"solved_at": 2, "wall_seconds": 3.0, "parameters": 10})
    never = run.model_copy(update={"solved_at": None, "wall_seconds": 5.0, "parameters": 10})
    diverged = run.model_copy(update={"solved_at": None, "outcome": "diverged", "wall_seconds": 0.1})
    assert mean("updates_to_solved", [solved, never, diverged]) == (2 + 8 + 8) / 3
    assert mean("seconds", [solved, never]) == 4.0
    assert mean("seconds", [solved, diverged]) == math.inf
    assert mean("score", [solved, diverged]) == math.inf


def test_objectives_that_do_not_go_together_with_the_search(study: dict[str, Any]) -> None:
    search = {**study, "trials": 3}
    for changes, sentence in (
        ({"objectives": ["score", "secnods"]}, "no objective named 'secnods'; did you mean 'seconds'"),
        ({"objectives": ["score", "score"]}, "objectives stand twice"),
        ({"objectives": []}, "objectives: Tuple should have at least 1 item"),
        ({"objectives": ["score", "seconds"], "pruner": {"name": "median"}}, "judges a trial by its score"),
        ({"objectives": ["seconds"], "pruner": {"name": "hyperband"}}, "judges a trial by its score"),
        ({"objectives": ["score", "seconds"], "sampler": {"name": "cmaes"}}, "cmaes takes one objective"),
    ):
        with pytest.raises(UserError, match=sentence):
            load_study({**search, **changes})


def test_other_objectives_are_another_search(study: dict[str, Any], shared_home: Path) -> None:
    search = {**study, "space": {"model.depth": [1]}, "sampler": {"name": "grid"}}
    longlag.sweep(search, home=shared_home)
    with pytest.raises(UserError, match="with another objectives"):
        longlag.sweep({**search, "objectives": ["score", "seconds"]}, home=shared_home)


# -- seeds and pruners ------------------------------------------------------------------------------------------------


def trials_of(result: StudyResult, home: Path) -> list[optuna.trial.FrozenTrial]:
    return StudyStore.stored(result.spec.name, Home.open(home).optuna_url).study.get_trials()


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_bad_point_costs_one_seed(pruner: str, study: dict[str, Any], shared_home: Path) -> None:
    """Known points: first good ones, then one that diverges at once."""
    good, bad = [{"name": "adam", "lr": lr} for lr in (1e-3, 2e-3, 3e-3)], {"name": "sgd", "lr": 1e30}
    search = {
        **study,
        "space": {"optimizer": [*good, bad]},
        "seeds": list(range(5)),
        "enqueue": [{"optimizer": value} for value in (*good, bad)],
        "trials": 4,
        "pruner": {"name": pruner, "startup_trials": 2},
    }
    if pruner == "hyperband":  # its brackets hedge: the trial's number chooses one, and only the first looks so early
        search["name"] = in_first_bracket()
    result = longlag.sweep(search, home=shared_home)
    (last,) = (trial for trial in result.trials if trial.number == 3)
    assert (last.state, len(last.runs), last.objectives) == ("pruned", 1, {"score": math.inf})
    assert last.reason == "after 1 of 5 seeds"
    frozen = trials_of(result, shared_home)
    assert list(frozen[3].intermediate_values) == [1]
    if pruner == "median":
        assert [len(trial.runs) for trial in sorted(result.trials, key=lambda t: t.number)][:2] == [5, 5]


def in_first_bracket() -> str:
    """A name of a study under which Hyperband puts the first four trials into the bracket that prunes soonest."""
    first, second = 3, 2  # of five seeds: two brackets of ceil(2 * 3^s / (s + 1)) parts, s = 1 and 0
    names = (f"hyperband-{k}" for k in range(10_000))
    return next(
        name
        for name in names
        if all(zlib.crc32(f"{name}_{number}".encode()) % (first + second) < first for number in range(4))
    )
