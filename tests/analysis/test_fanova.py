"""fANOVA against Optuna's on numeric axes, and against an enumeration of the surface with categorical ones."""

from __future__ import annotations

import itertools

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sklearn.ensemble import RandomForestRegressor

from longlag.analysis.fanova import Axis, Choices, Numbers, shares

N = 60


def test_on_numeric_axes_it_is_optunas() -> None:
    random = np.random.default_rng(0)
    values = {"a": random.uniform(0, 1, N), "b": random.uniform(-2, 5, N), "c": random.integers(0, 3, N) / 2.0}
    targets = 3 * values["a"] + np.sin(values["b"]) + 0.1 * random.normal(size=N)
    bounds = {"a": (0, 1), "b": (-2, 5), "c": (0, 1)}
    scales = {name: FloatDistribution(*ends) for name, ends in bounds.items()}
    study = optuna.create_study()
    for k in range(N):
        point = {name: float(v[k]) for name, v in values.items()}
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=targets[k], params=point, distributions=scales)  # type: ignore[arg-type]
        )
    expected = optuna.importance.FanovaImportanceEvaluator(n_trees=4, seed=1).evaluate(study)
    axes: dict[str, Axis] = {name: Numbers(v.tolist(), *bounds[name]) for name, v in values.items()}
    assert shares(axes, targets, 4, 1) == pytest.approx(expected)


def test_choices_are_the_values_of_a_categorical_axis_and_nothing_between_them() -> None:
    """Each tree is asked at every combination of choice, choice and middle of an interval between two splits."""
    random = np.random.default_rng(1)
    cell, kind, rate = random.integers(0, 4, N), random.integers(0, 2, N), random.uniform(0, 1, N)
    targets = np.array([0.0, 1.0, 5.0, 2.0])[cell] + kind * rate
    axes: dict[str, Axis] = {
        "cell": Choices(cell.tolist(), 4),
        "kind": Choices(kind.tolist(), 2),
        "rate": Numbers(rate.tolist(), 0, 1),
    }
    columns = np.concatenate([np.eye(4)[cell], np.eye(2)[kind], rate[:, None]], 1)
    forest = RandomForestRegressor(n_estimators=3, max_depth=64, random_state=2).fit(columns, targets)
    expected: dict[str, list[float]] = {name: [] for name in axes}
    for tree in forest.estimators_:
        cuts = np.unique(tree.tree_.threshold[tree.tree_.feature == 6])
        edges = np.concatenate([[0.0], cuts, [1.0]])
        middles, sizes = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
        grid = [[*np.eye(4)[c], *np.eye(2)[k], m] for c, k, m in itertools.product(range(4), range(2), middles)]
        surface = tree.predict(np.array(grid)).reshape(4, 2, len(middles))
        weights = np.full((4, 2, 1), 1 / 8) * sizes
        mean = (weights * surface).sum()
        variance = (weights * (surface - mean) ** 2).sum()
        for place, name in enumerate(axes):
            others = tuple(k for k in range(3) if k != place)
            size = weights.sum(others)
            marginal = (weights * surface).sum(others) / size
            expected[name].append(float((size * (marginal - mean) ** 2).sum() / variance))
    found = shares(axes, targets, 3, 2)
    assert found == pytest.approx({name: np.mean(each) for name, each in expected.items()})


def test_an_axis_of_many_choices_takes_no_longer() -> None:
    """Two to the number of choices are more combinations than could ever be looked at."""
    random = np.random.default_rng(0)
    cell = random.integers(0, 40, 4 * N)
    axes: dict[str, Axis] = {
        "cell": Choices(cell.tolist(), 40),
        "rate": Numbers(random.uniform(size=4 * N).tolist(), 0, 1),
    }
    found = shares(axes, (cell % 2).astype(float), 4, 0)
    assert found is not None and found["cell"] > 0.8 and found["rate"] < 0.1


def test_without_variance_there_are_no_shares() -> None:
    assert shares({"a": Numbers([0.1, 0.5, 0.9], 0, 1)}, np.zeros(3), 2, 0) is None
