"""A study's space as Optuna sees it: every axis a parameter, every structured value behind a stable label."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from harness.registry import UserError
from harness.spec import Range

if TYPE_CHECKING:
    import optuna

Axis = list[Any] | Range
Space = Mapping[str, Axis]
Label = str | int | float | bool | None
LARGEST_GRID = 100_000


def label(value: Any) -> Label:
    """What stands for one value of a list: numbers and words as they are, ``lstm(forget_bias=1)`` for a mapping."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        options = [f"{key}={_compact(value[key])}" for key in sorted(value) if key != "name"]
        return f"{value['name']}({', '.join(options)})" if options else str(value["name"])
    return _compact(value)


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def labels(path: str, values: list[Any]) -> dict[Label, Any]:
    """The values of a list axis by label, in order.

    Raises:
        UserError: when two values are the same.
    """
    result: dict[Label, Any] = {}
    for value in values:
        key = label(value)
        if key in result:  # also for 1, 1.0 and true, which are one choice to Optuna
            raise UserError(f"space.{path}: the value {_compact(value)} stands twice")
        result[key] = value
    return result


def last(axis: Range) -> int | float:
    """The highest value that a range with a step reaches."""
    if axis.step is None:
        return axis.high
    low, high, step = (Decimal(str(bound)) for bound in (axis.low, axis.high, axis.step))
    reached = low + (high - low) // step * step
    return int(reached) if axis.whole else float(reached)


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """Let Optuna choose a point of the space."""
    point: dict[str, Any] = {}
    for path, axis in space.items():
        if isinstance(axis, list):
            choices = labels(path, axis)
            point[path] = choices[trial.suggest_categorical(path, list(choices))]
        elif axis.whole:
            step = 1 if axis.step is None else int(axis.step)
            point[path] = trial.suggest_int(path, int(axis.low), int(last(axis)), step=step, log=axis.log)
        else:
            step_ = None if axis.step is None else float(axis.step)
            point[path] = trial.suggest_float(path, float(axis.low), float(last(axis)), step=step_, log=axis.log)
    return point


def decode(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The point that a finished trial's parameters stand for; axes that it did not reach are left out."""
    point = {}
    for path, axis in space.items():
        if path in params:
            point[path] = labels(path, axis)[params[path]] if isinstance(axis, list) else params[path]
    return point


def size(space: Space) -> int | None:
    """How many points the space has; None where a range is open."""
    total = 1
    for axis in space.values():
        if isinstance(axis, list):
            total *= len(axis)
        elif axis.step is not None or (axis.whole and not axis.log):
            total *= math.floor((Decimal(str(last(axis))) - Decimal(str(axis.low))) / Decimal(str(axis.step or 1))) + 1
        elif axis.low != axis.high:
            return None
    return total


def points(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space without open ranges, the last axis fastest."""

    def values(axis: Axis) -> list[Any]:
        if isinstance(axis, list):
            return axis
        step = Decimal(str(axis.step or 1))
        count = int((Decimal(str(last(axis))) - Decimal(str(axis.low))) // step) + 1
        number = int if axis.whole else float
        return [number(Decimal(str(axis.low)) + k * step) for k in range(count)]

    for combination in itertools.product(*(values(axis) for axis in space.values())):
        yield dict(zip(space, combination, strict=True))


def check(space: Space, grid: bool) -> None:
    """Refuse what Optuna could not tell apart or not finish.

    Raises:
        UserError: for a value that stands twice, or a grid that no one could wait for.
    """
    for path, axis in space.items():
        if isinstance(axis, list):
            labels(path, axis)
    total = size(space)
    if grid and (total is None or total > LARGEST_GRID):
        found = "no end of" if total is None else f"{total:,}"
        raise UserError(f"a grid over this space has {found} points; fewer values, or another sampler, such as tpe")
