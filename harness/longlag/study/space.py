"""A study's space as Optuna sees it: every axis a parameter, every structured value behind a stable label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longlag.errors import UserError
from longlag.spec import Range, Space, points
from longlag.spec.axes import Label, applies, choices, is_long, labels, restored, stored

if TYPE_CHECKING:
    import optuna


def suggest(trial: optuna.trial.BaseTrial, space: Space) -> dict[str, Any]:
    """Let Optuna choose a point of the space; an axis that does not exist there is not asked for."""
    point: dict[str, Any] = {}
    for path in points.in_order(space):
        axis = space[path]
        if not applies(axis, point):
            continue
        values = choices(axis)
        if values is not None and is_long(axis):
            point[path] = values[trial.suggest_int(path, 0, len(values) - 1)]
        elif values is not None:
            by_label = labels(path, values)
            point[path] = by_label[trial.suggest_categorical(path, list(by_label))]
        elif isinstance(axis, Range) and axis.whole:
            step = 1 if axis.step is None else int(axis.step)
            point[path] = trial.suggest_int(path, int(axis.low), int(axis.last()), step=step, log=axis.log)
        elif isinstance(axis, Range):
            step_ = None if axis.step is None else float(axis.step)
            found = trial.suggest_float(path, float(axis.low), float(axis.last()), step=step_, log=axis.log)
            point[path] = axis.exact(found)
    return {path: point[path] for path in space if path in point}


def decode(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The point that a finished trial's parameters stand for; axes that it did not reach are left out."""
    return {path: restored(path, axis, params[path]) for path, axis in space.items() if path in params}


def encode(point: Mapping[str, Any], space: Space) -> dict[str, Label]:
    """The reverse: the parameters of a point, for Optuna."""
    return {path: stored(space[path], value) for path, value in point.items()}


def check(space: Space, grid: bool) -> None:
    """Refuse what Optuna could not tell apart or not finish.

    Raises:
        UserError: for a value that is given twice, an axis that never exists, or a grid that no one could wait for.
    """
    points.check(space)
    total = points.size(space) if grid else 0
    if total is None or total > points.MANY:
        found = "more points than can be visited" if total is None else f"{total:,} points"
        raise UserError(f"a grid over this space has {found}; fewer values, or another sampler, such as tpe")
