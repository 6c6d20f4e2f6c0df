"""Axes as Optuna sees them, and back."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longlag import samplers
from longlag.errors import UserError
from longlag.spec import Range, Values, load_study, points
from longlag.spec.axes import label
from longlag.spec.axes import labels as labels_of
from longlag.study import space


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
    labels = labels_of("cell", values)
    assert list(labels) == ["lstm(forget_bias=1)", "gru", "rnn", None, "[8,8]", 0.5]
    assert list(labels.values()) == values
    assert label({"forget_bias": 1, "name": "lstm"}) == "lstm(forget_bias=1)"


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
    expected = list(points.points(AXES))
    assert points.size(AXES) == len(expected) == 2 * 3 * 3 * 3
    found = suggested(AXES, optuna.samplers.BruteForceSampler(seed=0), 100)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_ranges_stay_inside_and_are_whole_where_their_bounds_are() -> None:
    axes = {
        "a": Range(low=1, high=100, log=True),
        "b": Range(low=1e-4, high=1e-1, log=True),
        "c": Range(low=0, high=2.5),
    }
    assert points.size(axes) is None
    found = suggested(axes, optuna.samplers.RandomSampler(seed=1), 40)
    assert all(isinstance(p["a"], int) and 1 <= p["a"] <= 100 for p in found)
    assert all(1e-4 <= p["b"] <= 1e-1 and 0 <= p["c"] <= 2.5 for p in found)
    assert sum(p["b"] < 1e-2 for p in found) > 15  # uniform in the logarithm: two thirds


def test_a_grid_without_end_is_refused() -> None:
    with pytest.raises(UserError, match="1,000,000,000 points"):
        space.check({"model.hidden_size": Range(low=1, high=10**9)}, grid=True)
    space.check({"model.hidden_size": Range(low=1, high=10**9)}, grid=False)


def test_a_space_without_axes_is_one_point() -> None:
    assert points.size({}) == 1
    assert list(points.points({})) == [{}]


CONDITIONAL = load_study(
    {
        "name": "conditional",
        "base": {"task": "adding"},
        "space": {
            "cell.forget_bias": {"when": {"cell": "lstm"}, "values": [0, 1, 5]},  # before what it hangs on
            "cell": ["rnn", "gru", "lstm"],
            "optimizer": ["adam", {"name": "sgd", "lr": 0.1}],
            "optimizer.momentum": {"when": {"optimizer": "sgd"}, "low": 0, "high": 0.9, "step": 0.3},
            "optimizer.nesterov": {"when": {"optimizer.momentum": [0.3, 0.6]}, "values": [False, True]},
            "model.depth": {"low": 1, "high": 3},
            "model.residual": {"when": {"model.depth": [2, 3]}, "values": [False, True]},
        },
        "sampler": {"name": "grid"},
    }
).space  # fmt: skip


def by_hand() -> list[dict[str, Any]]:
    """The points of `CONDITIONAL` as one would write the loops."""
    found = []
    for cell in ("rnn", "gru", "lstm"):
        for bias in (0, 1, 5) if cell == "lstm" else (None,):
            for optimizer in ("adam", "sgd"):
                for momentum in (0.0, 0.3, 0.6, 0.9) if optimizer == "sgd" else (None,):
                    for nesterov in (False, True) if momentum in (0.3, 0.6) else (None,):
                        for depth in (1, 2, 3):
                            for residual in (False, True) if depth > 1 else (None,):
                                found.append((cell, bias, optimizer, momentum, nesterov, depth, residual))
    return [
        {
            key: {"name": "sgd", "lr": 0.1} if value == "sgd" else value
            for key, value in zip(
                (
                    "cell",
                    "cell.forget_bias",
                    "optimizer",
                    "optimizer.momentum",
                    "optimizer.nesterov",
                    "model.depth",
                    "model.residual",
                ),
                point,
                strict=True,
            )
            if value is not None
        }
        for point in found
    ]


def key(point: dict[str, Any]) -> str:
    return repr(sorted(point.items(), key=str))


def test_a_conditional_space_has_the_points_that_loops_by_hand_give() -> None:
    expected = by_hand()
    found = list(points.points(CONDITIONAL))
    assert sorted(map(key, found)) == sorted(map(key, expected))
    assert points.size(CONDITIONAL) == len(expected) == 5 * (1 + 1 + 2 + 2 + 1) * (1 + 2 + 2)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_grid_visits_every_point_of_a_conditional_space_once() -> None:
    axes = {path: axis for path, axis in CONDITIONAL.items() if not path.startswith("model.")}
    expected = list(points.points(axes))
    found = suggested(axes, optuna.samplers.BruteForceSampler(seed=0), 1000)
    assert sorted(map(key, found)) == sorted(map(key, expected))


def test_the_size_of_a_space_too_large_to_list() -> None:
    axes: dict[str, Any] = {
        "a": Range(low=1, high=10**9),
        "b": Values(when={"a": [7, 8]}, values=[1, 2, 3]),
        "c": Range(low=0.0, high=1.0, when={"a": 9}),
    }
    assert points.size(axes) is None  # of c there is no end
    del axes["c"]
    assert points.size(axes) == 10**9 - 2 + 2 * 3


@st.composite
def small_spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Up to six axes, each with conditions on some of those before it."""
    axes: dict[str, Any] = {}
    for path in "abcdef"[: draw(st.integers(1, 6))]:
        low, number = draw(st.integers(0, 2)), draw(st.integers(1, 4))
        values = list(range(low, low + number))
        parents = draw(st.lists(st.sampled_from(sorted(axes)), max_size=3, unique=True)) if axes else []
        when = {
            other: draw(st.lists(st.sampled_from(list(points.points({other: every(axes[other])}))), min_size=1))
            for other in parents
        }
        when = {other: [value[other] for value in found] for other, found in when.items()}
        if draw(st.booleans()):
            axes[path] = Range(low=low, high=low + number - 1, when=when)
        else:
            axes[path] = Values(when=when, values=values) if when else values
    return dict(draw(st.permutations(list(axes.items()))))


def every(axis: Any) -> Any:
    """The same axis without its condition."""
    return Range(low=axis.low, high=axis.high) if isinstance(axis, Range) else getattr(axis, "values", axis)


@settings(deadline=None, max_examples=150)
@given(small_spaces())
def test_points_are_counted_as_they_are_listed_and_axes_reached_where_they_exist(axes: dict[str, Any]) -> None:
    listed = list(points.points(axes))
    assert points.size(axes) == len(listed)
    for path in axes:
        found = points.reach(axes, path)
        assert (found is None) == all(path not in point for point in listed)
        if found is not None:
            assert path in points.complete(axes, found)


def test_large_spaces_are_counted_without_listing_them() -> None:
    lists: dict[str, Any] = {name: list(range(count)) for name, count in zip("abcd", (48, 48, 44, 20), strict=True)}
    when = {"a": [1, 2], "b": [3], "c": [4, 5, 6], "d": [7]}
    space_of = {**lists, "e": Values(when=when, values=[1, 2, 3])}
    assert points.size(space_of) == 48 * 48 * 44 * 20 + 12
    assert points.reach(space_of, "e") == {"a": 1, "b": 3, "c": 4, "d": 7}
    never = {**lists, "e": space_of["e"], "f": Values(when={"e": [1], "d": [8]}, values=[0])}
    assert points.reach(never, "f") is None
    chained = {**space_of, **{f"x{k}": Values(when={"a": [k], "d": [k]}, values=[0, 1]) for k in range(20)}}
    assert points.size(chained) == 48 * 48 * 44 * 20 + 12 + 20 * 48 * 44
    pairs = {f"p{k}": [0, 1] for k in range(200)}
    apart = {f"q{k}": Values(when={f"p{k}": [1]}, values=[0, 1]) for k in range(200)}
    assert points.size({**pairs, **apart}) == 3**200
    assert (
        points.size({"a": list(range(100_000)), "b": Values(when={"a": list(range(50_000))}, values=[0, 1])}) == 150_000
    )


def test_conditions_that_tell_too_many_points_apart_are_not_counted() -> None:
    lists = {name: list(range(60)) for name in "abc"}
    apart = {f"x{k}": Values(when={"a": [k], "b": [k], "c": [k]}, values=[0, 1]) for k in range(60)}
    assert points.size({**lists, **apart}) is None
    with pytest.raises(UserError, match="a grid over this space has more points than can be visited; fewer values, or"):
        space.check({**lists, **apart}, grid=True)
    space.check({**lists, **apart}, grid=False)


BASE = {"task": "adding", "cell": "rnn"}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_trial_is_stored_with_the_place_of_its_value_in_a_long_list(sampler: str) -> None:
    values: list[Any] = [k * 1e-6 for k in range(1, 100_000)] + ["auto"]
    study = {"name": "x", "base": BASE, "space": {"optimizer.lr": values[:-1]}, "trials": 3}
    spec = load_study({**study, "sampler": {"name": sampler}})
    axes = {"optimizer.lr": values}
    found = suggested(axes, samplers.build(spec, 0), 3)
    assert len({point["optimizer.lr"] for point in found}) == 3
    assert space.decode({"optimizer.lr": 99_999}, axes) == {"optimizer.lr": "auto"}
    assert space.encode({"optimizer.lr": 3e-6}, axes) == {"optimizer.lr": 2}
    trial = optuna.trial.FixedTrial({"optimizer.lr": 2})
    space.suggest(trial, axes)
    assert trial.distributions == {"optimizer.lr": optuna.distributions.IntDistribution(0, 99_999)}


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"cell.forget_bias": {"when": {"cell": "lstn"}, "values": [0]}}, "no value lstn; did you mean 'lstm'"),
        ({"cell.forget_bias": {"when": {"cel": "lstm"}, "values": [0]}}, "no axis 'cel'.*; did you mean 'cell'"),
        ({"cell.forget_bias": {"when": {"cell": "lstm"}, "value": [0]}}, "no field 'value'"),
        ({"cell.forget_bias": {"values": [0]}}, "space.cell.forget_bias: when: Field required"),
        ({"cell.forget_bias": {"when": {}, "values": [0]}}, "a plain list of values needs no mapping"),
        ({"cell.forget_bias": {"when": {"cell": "lstm"}, "values": []}}, "values: List should have at least 1"),
        ({"cell.forget_bias": {"when": {"cell": "lstm"}, "values": [1, 1.0]}}, "the value 1.0 stands twice"),
        ({"cell.forget_bias": [0, 1]}, r"no field 'forget_bias'.*give it a condition: \{when: \{cell: lstm\}"),
        ({"cell.forget_bias": {"when": {"cell": "rnn"}, "values": [0]}}, "no field 'forget_bias'"),
        ({"model.depth": {"when": {"model.residual": True}, "values": [1]},
          "model.residual": {"when": {"model.depth": 1}, "values": [True]}}, "hang on one another"),
        ({"model.depth": {"when": {"cell": "rnn"}, "values": [1, 2]},
          "model.residual": {"when": {"model.depth": 2, "cell": "lstm"}, "values": [True]}},
         "space.model.residual: when: no point of the space meets this condition"),
        ({"optimizer.lr": 0.1}, r"should be a list of values or a range"),
    ],
)  # fmt: skip
def test_mistakes_in_conditions_are_one_sentence(extra: dict[str, Any], sentence: str) -> None:
    study = {"name": "x", "base": {"task": "adding"}, "space": {"cell": ["rnn", "lstm"], **extra}, "trials": 3}
    with pytest.raises(UserError, match=sentence):
        load_study(study)


def test_an_axis_without_a_condition_is_written_as_before() -> None:
    """The identity of studies that were begun before hangs on it."""
    assert Range(low=1, high=2).model_dump(mode="json") == {"low": 1, "high": 2, "log": False, "step": None}
    assert Range(low=1, high=2, when={"cell": "rnn"}).model_dump(mode="json")["when"] == {"cell": ["rnn"]}


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "qmc", "gp", "cmaes"])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_sampler_stays_in_a_conditional_space(sampler: str) -> None:
    spec = load_study(
        {"name": "x", "base": {"task": "adding"}, "space": CONDITIONAL, "trials": 14, "sampler": {"name": sampler}}
    )
    found = suggested(dict(CONDITIONAL), samplers.build(spec, 0), 14)
    every = {key(point) for point in points.points(CONDITIONAL)}
    assert {key(point) for point in found} <= every
    assert len({key(point) for point in found}) > 5
    assert any("cell.forget_bias" in point for point in found)
    assert any("optimizer.momentum" in point for point in found)
