"""Every point of the space once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longlag.samplers.base import Sampler
from longlag.spec import Space, axes, points

if TYPE_CHECKING:
    import optuna


class Grid(Sampler):
    """Every point once, in random order; the space needs lists of values, or ranges with a step."""

    exhaustive = True

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        from optuna.trial import TrialState

        from longlag.optuna_private import FilteredBruteForce

        # A process may die before its trial has a value for every axis. Optuna would take that trial for a point, at
        # an inner node of its tree, and then propose nothing below that node, or fail.
        return FilteredBruteForce(
            seed, lambda trial: trial.state is not TrialState.FAIL or is_point(trial.params, space)
        )


def is_point(parameters: Mapping[str, Any], space: Space) -> bool:
    """Whether a trial has a value for every axis that exists at its point."""
    point: dict[str, Any] = {}
    for path in points.in_order(space):
        if not axes.applies(space[path], point):
            continue
        if path not in parameters:
            return False
        point[path] = axes.restored(path, space[path], parameters[path])
    return True
