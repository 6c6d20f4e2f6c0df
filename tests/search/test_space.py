"""Axes as Optuna sees them, and back."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from harness.registry import UserError
from harness.search import space
from harness.spec import Range


def suggested(axes: dict[str, Any], sampler: optuna.samplers.BaseSampler, trials: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=sampler)
    found = []

    def objective(trial: optuna.Trial) -> float:
        point = space.suggest(trial, axes)
        assert space.decode(trial.params, axes) == point
        found.append(point)
        return 0.0

    study.optimize(objective, n_trials=trials)
    return found


def test_structured_values_stand_behind_stable_labels_and_come_back() -> None:
    values = [{"name": "lstm", "forget_bias": 1}, "gru", {"name": "rnn"}, None, [8, 8], 0.5]
    labels = space.labels("cell", values)
    assert list(labels) == ["lstm(forget_bias=1)", "gru", "rnn", None, "[8,8]", 0.5]
    assert list(labels.values()) == values
    assert space.label({"forget_bias": 1, "name": "lstm"}) == "lstm(forget_bias=1)"


@pytest.mark.parametrize("values", [["lstm", "lstm"], [1, 1.0], [True, 1], ["rnn", {"name": "rnn"}], [[1], [1]]])
def test_values_that_optuna_could_not_tell_apart_are_refused(values: list[Any]) -> None:
    with pytest.raises(UserError, match="stands twice"):
        space.check({"cell": values}, grid=True)


AXES: dict[str, Any] = {
    "cell": [{"name": "lstm", "forget_bias": 1}, "gru"],
    "model.depth": Range(low=1, high=3),
    "model.hidden_size": Range(low=10, high=35, step=10),
    "optimizer.lr": Range(low=0.1, high=0.35, step=0.1),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_grid_visits_every_point_once() -> None:
    expected = list(space.points(AXES))
    assert space.size(AXES) == len(expected) == 2 * 3 * 3 * 3
    found = suggested(AXES, optuna.samplers.BruteForceSampler(seed=0), 100)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_ranges_stay_inside_and_are_whole_where_their_bounds_are() -> None:
    axes = {
        "a": Range(low=1, high=100, log=True),
        "b": Range(low=1e-4, high=1e-1, log=True),
        "c": Range(low=0, high=2.5),
    }
    assert space.size(axes) is None
    found = suggested(axes, optuna.samplers.RandomSampler(seed=1), 40)
    assert all(isinstance(p["a"], int) and 1 <= p["a"] <= 100 for p in found)
    assert all(1e-4 <= p["b"] <= 1e-1 and 0 <= p["c"] <= 2.5 for p in found)
    assert sum(p["b"] < 1e-2 for p in found) > 15  # uniform in the logarithm: two thirds


def test_a_grid_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="1,000,000,000 points"):
        space.check({"model.hidden_size": Range(low=1, high=10**9)}, grid=True)
    space.check({"model.hidden_size": Range(low=1, high=10**9)}, grid=False)


def test_a_space_without_axes_is_one_point() -> None:
    assert space.size({}) == 1
    assert list(space.points({})) == [{}]
