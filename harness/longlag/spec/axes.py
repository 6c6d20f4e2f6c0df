"""The axes of a study's space: lists and ranges, and axes that exist only for some choices of another one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic import model_validator as _model_validator

from longlag.errors import UserError, clipped, explain, listed, quoted, suggestion
from longlag.spec.component import Spec

Label = str | int | float | bool | None
LONG = 1000
"""Values of a list, above which it is a long one."""


def _each_a_list(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {path: wanted if isinstance(wanted, list) else [wanted] for path, wanted in value.items()}
    return value


Condition = Annotated[
    dict[str, list[Any]],
    BeforeValidator(_each_a_list, json_schema_input_type=dict[str, Any]),
    Field(description="the axis exists only where these other axes have one of these values"),
]


FARTHEST = 1e300
"""From 0, of a bound: the width of a range is a number too."""
WHOLE = 2**53
"""A sampler's whole numbers are stored as floats, which are exact up to here."""
STEPS = 10**15
"""Values of a range with a step, at most."""


class Range(Spec):
    """Numbers between two bounds, both included; whole numbers when all of its bounds are."""

    later: ClassVar[tuple[str, ...]] = ("when",)

    low: int | float
    high: int | float
    log: bool = Field(False, description="uniform in the logarithm")
    step: int | float | None = Field(None, gt=0, description="only low, low + step, ...")
    when: Condition = Field(default_factory=dict)

    @_model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0, not at {self.low}")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range has no step")
        if max(abs(self.low), abs(self.high)) > (WHOLE if self.whole else FARTHEST):
            raise ValueError(f"a range ends at {WHOLE:,} for whole numbers, at {FARTHEST:g} for others")
        if self.step is not None and (self.high - self.low) / self.step >= STEPS:
            raise ValueError(f"a range has at most {STEPS:,} steps; a step of {self.step} makes more")
        return self

    @property
    def whole(self) -> bool:
        return all(isinstance(bound, int) for bound in (self.low, self.high, self.step) if bound is not None)

    def last(self) -> int | float:
        """The highest value that a range with a step reaches."""
        if self.step is None:
            return self.high
        low, high, step = (Decimal(str(bound)) for bound in (self.low, self.high, self.step))
        reached = low + (high - low) // step * step
        return int(reached) if self.whole else float(reached)

    def count(self) -> int | None:
        """How many values it has; None for an open one."""
        if self.step is not None or (self.whole and not self.log):
            return int((Decimal(str(self.last())) - Decimal(str(self.low))) / Decimal(str(self.step or 1))) + 1
        return 1 if self.low == self.high else None

    def values(self) -> list[int | float]:
        """All of its values, in order, unless it is open."""
        number, step = int if self.whole else float, Decimal(str(self.step or 1))
        return [number(Decimal(str(self.low)) + k * step) for k in range(self.count() or 0)]

    def exact(self, value: float) -> int | float:
        """The value with a step as one writes it: 0.9, not 0.8999999999999999, which would be another run."""
        if self.step is None:
            return value
        low, step = Decimal(str(self.low)), Decimal(str(self.step))
        exact = low + round((Decimal(str(value)) - low) / step) * step
        return int(exact) if self.whole else float(exact)

    def holds(self, value: Any) -> bool:
        """Whether a value lies in it."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf < value < math.inf:
            return False
        if self.whole and value != int(value):
            return False
        inside = self.low <= value <= self.last()
        return inside and (
            self.step is None or (Decimal(str(value)) - Decimal(str(self.low))) % Decimal(str(self.step)) == 0
        )


class Values(Spec):
    """Values of an axis that exists only for some choices of another; one that always exists is a plain list."""

    when: Condition
    values: list[Any] = Field(min_length=1)

    @_model_validator(mode="after")
    def _conditional(self) -> Values:
        if not self.when:
            raise ValueError("when names no axis; a plain list of values needs no mapping")
        return self


Axis = list[Any] | Range | Values
Space = Mapping[str, Axis]


def axis(path: str, given: Any) -> Axis:
    """An axis as YAML writes it.

    Raises:
        UserError: when it is none.
    """
    if isinstance(given, Range | Values):
        return given
    if isinstance(given, list):
        if not given:
            raise UserError(f"space.{path}: has no values")
        return given
    if not isinstance(given, Mapping):
        raise UserError(
            f"space.{path}: should be a list of values or a range {{low: ..., high: ...}}; got {quoted(given)}"
        )
    kind: type[Range | Values] = Values if "values" in given else Range
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, f"space.{path}", kind)) from error


# -- values -----------------------------------------------------------------------------------------------------------


def label(value: Any) -> Label:
    """What stands for one value of a list: numbers and words as they are, ``lstm(forget_bias=1)`` for a mapping."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        options = [f"{key}={compact(value[key])}" for key in sorted(value) if key != "name"]
        return f"{value['name']}({', '.join(options)})" if options else str(value["name"])
    return compact(value)


def compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def labels(path: str, values: list[Any]) -> dict[Label, Any]:
    """The values of a list by label, in order.

    Raises:
        UserError: when two values are the same.
    """
    result: dict[Label, Any] = {}
    for value in values:
        key = label(value)
        if key in result:  # also for 1, 1.0 and true, which are one choice to Optuna
            raise UserError(f"space.{path}: the value {compact(value)} stands twice")
        result[key] = value
    return result


def choices(given: Axis) -> list[Any] | None:
    """The values of a list, conditional or not; None for a range."""
    return None if isinstance(given, Range) else given.values if isinstance(given, Values) else given


def matcher(wanted: Iterable[Any]) -> Callable[[Any], bool]:
    """Whether a value is named by one of `wanted`, which holds it, or its name: ``lstm`` for ``{name: lstm, …}``."""
    same = {label(each) for each in wanted}
    return lambda value: not same.isdisjoint(_names(value))


def _names(value: Any) -> set[Label]:
    """What names a value: its label, and the name of one with options."""
    name = value.get("name") if isinstance(value, dict) else None
    return {label(value), name} if isinstance(name, str) else {label(value)}


def is_long(given: Axis) -> bool:
    """Whether it is a list of so many values that a trial is stored with the place of its value, not with its label.

    Optuna writes the labels of all values with every trial.
    """
    values = choices(given)
    return values is not None and len(values) > LONG


def probes(given: Axis) -> list[Any]:
    """The values whose runs are checked with a study: the ends of a range and of a long list of numbers, or all."""
    if isinstance(given, Range):
        return [given.low, given.high]
    values = choices(given) or []
    if not is_long(given) or not all(type(value) in (int, float) for value in values):
        return values
    kinds = [[value for value in values if type(value) is kind] for kind in (int, float)]
    return [end for numbers in kinds if numbers for end in (min(numbers), max(numbers))]


def stored(given: Axis, value: Any) -> Label:
    """What a trial is stored with for a value of this axis."""
    values = choices(given)
    if values is None:
        return value  # type: ignore[no-any-return]  # a number
    return values.index(value) if is_long(given) else label(value)


def restored(path: str, given: Axis, stored_as: Any) -> Any:
    """The reverse: the value that a trial was stored with."""
    if isinstance(given, Range):
        return given.exact(stored_as)
    values = choices(given) or []
    return values[stored_as] if is_long(given) else labels(path, values)[stored_as]


class Finder:
    """Finds the values of an axis that something names: the value itself, or the name of one with options.

    Args:
        path: of the axis.
        given: the axis.
    """

    def __init__(self, path: str, given: Axis) -> None:
        self.path, self.given = path, given
        self.known: dict[Label, list[Any]] = {}
        for value in choices(given) or []:
            for name in _names(value):
                self.known.setdefault(name, []).append(value)

    def find(self, wanted: Any) -> list[Any]:
        """The values that `wanted` names.

        Raises:
            UserError: when there are none, naming the nearest.
        """
        path, given, values = self.path, self.given, choices(self.given)
        if isinstance(given, Range):
            if given.holds(wanted):
                return [int(wanted) if given.whole else wanted]
            steps = f" in steps of {given.step}" if given.step is not None else ""
            kind = "a whole number" if given.whole else "a number"
            raise UserError(f"{path} is {kind} from {given.low} to {given.high}{steps}, not {clipped(compact(wanted))}")
        found = self.known.get(label(wanted), [])
        if not found:
            known = [str(label(value)) for value in values or ()]
            hint = suggestion(str(label(wanted)), known[:LONG]) or f"; it has {listed(known)}"
            raise UserError(f"{path} has no value {clipped(compact(wanted))}{hint}")
        return found


# -- conditions -------------------------------------------------------------------------------------------------------


def condition(given: Axis) -> dict[str, list[Any]]:
    """Axis -> values, of which it has to have one each."""
    return {} if isinstance(given, list) else given.when


def applies(given: Axis, point: Mapping[str, Any]) -> bool:
    """Whether an axis exists at a point, of which everything it hangs on is known."""
    return all(path in point and matcher(values)(point[path]) for path, values in condition(given).items())
