"""fANOVA of the surface that a random forest fits: the share of its variance that each axis explains alone.

Hutter, Hoos and Leyton-Brown (2014), "An efficient approach for assessing hyperparameter importance". A leaf of a tree
is a box: an interval of every numeric axis and some choices of every categorical one. The prediction at one value of an
axis, averaged over all others, is a sum over the leaves that hold the value; its variance over that of the tree is the
axis's share. The shares are averaged over the trees.

Optuna's evaluator walks through the tree for every combination of a categorical axis's one-hot columns: its time grows
as two to the number of choices, and hours go by for an axis of twenty cells. Sums over leaves take milliseconds. On
numeric axes both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """A numeric axis: the trials' values, and the ends of the axis."""

    values: Sequence[float]
    low: float
    high: float

    def columns(self) -> Values:
        return np.asarray(self.values, dtype=np.float64)[:, None]

    def bounds(self) -> list[tuple[float, float]]:
        return [(self.low, self.high)]

    def cells(self, low: Values, high: Values) -> tuple[NDArray[np.bool_], Values]:
        """The intervals that the leaves of a tree cut the axis into: which leaf holds which, and their shares."""
        edges = np.unique(np.concatenate([low, high]))
        held = (low <= edges[:-1]) & (edges[1:] <= high)
        return held, np.diff(edges) / (self.high - self.low)


@dataclass(frozen=True)
class Choices:
    """A categorical axis: the number of each trial's choice, and how many choices there are."""

    values: Sequence[int]
    count: int

    def columns(self) -> Values:
        one_hot: Values = np.eye(self.count)[np.asarray(self.values)]
        return one_hot

    def bounds(self) -> list[tuple[float, float]]:
        return [(0.0, 1.0)] * self.count

    def cells(self, low: Values, high: Values) -> tuple[NDArray[np.bool_], Values]:
        """Which leaf holds which choices; each is one cell, and all have the same share."""
        out, only = high < 1, low > 0  # the leaf's side of a split: this choice is not here, or no other is
        held = ~out & (only.sum(1, keepdims=True) - only == 0)
        return held, np.full(self.count, 1 / self.count)


Axis = Numbers | Choices


def shares(axes: Mapping[str, Axis], targets: Values, trees: int, seed: int) -> dict[str, float] | None:
    """The share of every axis; None where no tree has any variance.

    Args:
        axes: with the values of all trials, in the same order; every axis has more than one possible value.
        targets: of the trials.
        trees: of the forest.
        seed: of the forest.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=trees, max_depth=64, random_state=seed)
    forest.fit(np.concatenate([axis.columns() for axis in axes.values()], 1), targets)
    found = [_of_tree(fitted.tree_, axes) for fitted in forest.estimators_]
    known = [each for each in found if each is not None]
    return {name: float(np.mean([each[name] for each in known])) for name in axes} if known else None


def _of_tree(tree: Any, axes: Mapping[str, Axis]) -> dict[str, float] | None:
    bounds = np.array([bound for axis in axes.values() for bound in axis.bounds()], dtype=np.float64)
    low, high = _boxes(tree, bounds)
    leaves = tree.feature < 0
    values = tree.value[leaves].reshape(-1)
    held: dict[str, tuple[NDArray[np.bool_], Values]] = {}
    start = 0
    for name, axis in axes.items():
        stop = start + len(axis.bounds())
        held[name] = axis.cells(low[leaves, start:stop], high[leaves, start:stop])
        start = stop
    parts = {name: inside @ sizes for name, (inside, sizes) in held.items()}  # of each axis, what a leaf holds of it
    weights: Values = np.prod(list(parts.values()), axis=0)
    mean = float(weights @ values)
    variance = float(weights @ (values - mean) ** 2)
    if not variance > 0:
        return None
    found = {}
    for name, (inside, sizes) in held.items():
        others = weights / parts[name]
        found[name] = float(sizes @ ((others * values) @ inside - mean) ** 2) / variance
    return found


def _boxes(tree: Any, bounds: Values) -> tuple[Values, Values]:
    """The lower and upper ends ``[nodes, columns]`` of every node of a tree, from the root down, level by level."""
    low, high = np.tile(bounds[:, 0], (tree.node_count, 1)), np.tile(bounds[:, 1], (tree.node_count, 1))
    level = np.array([0])
    while len(level := level[tree.feature[level] >= 0]):
        left, right = tree.children_left[level], tree.children_right[level]
        for below in (left, right):
            low[below], high[below] = low[level], high[level]
        high[left, tree.feature[level]] = tree.threshold[level]
        low[right, tree.feature[level]] = tree.threshold[level]
        level = np.concatenate([left, right])
    return low, high
