"""The axes of a study's space: lists and ranges, and axes that exist only for some choices of another one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic import model_validator as _model_validator

from longlag.errors import UserError, explain, suggestion
from longlag.spec.component import Spec

Label = str | int | float | bool | None
OTHERS = "\0"  # stands for the values of an axis that no condition names


def _each_a_list(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {path: wanted if isinstance(wanted, list) else [wanted] for path, wanted in value.items()}
    return value


Condition = Annotated[
    dict[str, list[Any]],
    BeforeValidator(_each_a_list, json_schema_input_type=dict[str, Any]),
    Field(description="the axis exists only where these other axes have one of these values"),
]


class Range(Spec):
    """Numbers between two bounds, both included; whole numbers when all of its bounds are."""

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
        return self

    @model_serializer(mode="wrap")
    def _no_empty_condition(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `when` a range stands as it always did: its study's identity hangs on that."""
        fields: dict[str, Any] = handler(self)
        if not self.when:
            fields.pop("when", None)
        return fields

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
        if isinstance(value, bool) or not isinstance(value, int | float) or (self.whole and value != int(value)):
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
        raise UserError(f"space.{path}: should be a list of values or a range {{low: ..., high: ...}}; got {given!r}")
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
        options = [f"{key}={_compact(value[key])}" for key in sorted(value) if key != "name"]
        return f"{value['name']}({', '.join(options)})" if options else str(value["name"])
    return _compact(value)


def _compact(value: Any) -> str:
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
            raise UserError(f"space.{path}: the value {_compact(value)} stands twice")
        result[key] = value
    return result


def choices(given: Axis) -> list[Any] | None:
    """The values of a list, conditional or not; None for a range."""
    return None if isinstance(given, Range) else given.values if isinstance(given, Values) else given


def means(wanted: Any, value: Any) -> bool:
    """Whether `wanted` names `value`: it is the same, or its name, as ``lstm`` of ``{name: lstm, forget_bias: 1}``."""
    if isinstance(value, Mapping) and wanted == value.get("name"):
        return True
    return label(wanted) == label(value)


def find(path: str, given: Axis, wanted: Any) -> list[Any]:
    """The values of an axis that `wanted` names.

    Raises:
        UserError: when there are none, naming the nearest.
    """
    values = choices(given)
    if values is None:
        assert isinstance(given, Range)
        if given.holds(wanted):
            return [int(wanted) if given.whole else wanted]
        steps = f" in steps of {given.step}" if given.step is not None else ""
        kind = "a whole number" if given.whole else "a number"
        raise UserError(f"{path} is {kind} from {given.low} to {given.high}{steps}, not {_compact(wanted)}")
    found = [value for value in values if means(wanted, value)]
    if not found:
        known = [str(label(value)) for value in values]
        hint = suggestion(str(label(wanted)), known) or f"; it has {', '.join(known)}"
        raise UserError(f"{path} has no value {_compact(wanted)}{hint}")
    return found


# -- conditions -------------------------------------------------------------------------------------------------------


def condition(given: Axis) -> dict[str, list[Any]]:
    """Axis -> values, of which it has to have one each."""
    return {} if isinstance(given, list) else given.when


def applies(given: Axis, point: Mapping[str, Any]) -> bool:
    """Whether an axis exists at a point, of which everything it hangs on is known."""
    return all(
        path in point and any(means(wanted, point[path]) for wanted in values)
        for path, values in condition(given).items()
    )


def in_order(space: Space) -> list[str]:
    """The axes as they stand, but for every one after those that it hangs on.

    Raises:
        UserError: for a condition on an axis that is not there, or that hangs on itself.
    """
    done: list[str] = []
    waiting = list(space)
    while waiting:
        path = next((path for path in waiting if all(other in done for other in condition(space[path]))), None)
        if path is None:
            for path in waiting:
                for other in condition(space[path]):
                    if other not in space:
                        known = ", ".join(name for name in space if name != path)
                        hint = suggestion(other, list(space)) or f"; there are {known}"
                        raise UserError(f"space.{path}: when: there is no axis {other!r} in the space{hint}")
            raise UserError(f"space: the conditions of {' and '.join(waiting)} hang on one another")
        waiting.remove(path)
        done.append(path)
    return done


def complete(space: Space, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The point with these values, the first one of every other axis, and without the axes that do not exist there."""
    point: dict[str, Any] = {}
    for path in in_order(space):
        given = space[path]
        if applies(given, point):
            values = choices(given)
            first = given.low if isinstance(given, Range) else values[0] if values else None
            point[path] = fixed.get(path, first)
    return {path: point[path] for path in space if path in point}


def reach(space: Space, path: str) -> dict[str, Any] | None:
    """Values of other axes with which this one exists; None where there are none."""
    above: list[str] = []
    todo = [path]
    while todo:
        for other in condition(space[todo.pop()]):
            if other not in above:
                above.append(other)
                todo.append(other)
    wanted: dict[str, list[Any]] = {other: [] for other in above}
    for here in (path, *above):
        for other, values in condition(space[here]).items():
            wanted[other] += [value for each in values for value in find(other, space[other], each)]
    for combination in itertools.product(*wanted.values()):
        fixed = dict(zip(wanted, combination, strict=True))
        if path in complete(space, fixed):
            return fixed
    return None


def check(space: Space) -> None:
    """Refuse a space in which an axis can never exist, or values cannot be told apart.

    Raises:
        UserError: naming the axis.
    """
    for path, given in space.items():
        values = choices(given)
        if values is not None:
            labels(path, values)
    for path in in_order(space):
        try:
            found = reach(space, path)
        except UserError as error:
            raise UserError(f"space.{path}: when: {error}") from None
        if found is None:
            raise UserError(f"space.{path}: when: no point of the space meets this condition")


def point(space: Space, given: Mapping[str, Any]) -> dict[str, Any]:
    """A point that somebody names, with the values of the space; axes left out stay open.

    Raises:
        UserError: for an axis or value that is not there, or an axis that does not exist at this point.
    """
    result: dict[str, Any] = {}
    for path, wanted in given.items():
        if path not in space:
            hint = suggestion(str(path), list(space)) or f"; there are {', '.join(space)}"
            raise UserError(f"there is no axis {path!r} in the space{hint}")
        found = find(path, space[path], wanted)
        if len(found) > 1:
            several = ", ".join(str(label(value)) for value in found)
            raise UserError(f"{path}: {_compact(wanted)} is one of {several}; give its options too")
        result[path] = found[0]
    for path in result:
        for other in condition(space[path]):
            if other not in result:
                raise UserError(f"{path} exists for some values of {other} only; give {other} too")
        if not applies(space[path], result):
            at = ", ".join(f"{other} {_compact(result[other])}" for other in condition(space[path]))
            raise UserError(f"{path} does not exist with {at}")
    return result


# -- all points -------------------------------------------------------------------------------------------------------


def size(space: Space) -> int | None:
    """How many points the space has; None where a range is open."""
    parents = {other for given in space.values() for other in condition(given)}
    order = in_order(space)

    def count(depth: int, point: dict[str, Any]) -> int | None:
        if depth == len(order):
            return 1
        path, given = order[depth], space[order[depth]]
        if not applies(given, point):
            return count(depth + 1, point)
        values = choices(given)
        here = len(values) if values is not None else given.count() if isinstance(given, Range) else None
        if here is None:
            return None
        if path not in parents:
            rest = count(depth + 1, point)
            return None if rest is None else here * rest
        # the values that conditions name, each by itself, and all others together
        named = [value for each in _named(space, path) for value in find(path, given, each)]
        cases = [(1, value) for value in labels(path, named).values()] if values is None else [(1, v) for v in values]
        cases += [(here - len(cases), OTHERS)] if here > len(cases) else []
        total = 0
        for weight, value in cases:
            rest = count(depth + 1, {**point, path: value})
            if rest is None:
                return None
            total += weight * rest
        return total

    return count(0, {})


def _named(space: Space, path: str) -> list[Any]:
    found = [value for given in space.values() for value in condition(given).get(path, [])]
    return [value for k, value in enumerate(found) if label(value) not in [label(v) for v in found[:k]]]


def points(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space without open ranges, each once, the last axis fastest."""
    order = in_order(space)

    def grow(depth: int, point: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if depth == len(order):
            yield {path: point[path] for path in space if path in point}
            return
        given = space[order[depth]]
        if not applies(given, point):
            yield from grow(depth + 1, point)
            return
        values = given.values() if isinstance(given, Range) else choices(given) or []
        for value in values:
            yield from grow(depth + 1, {**point, order[depth]: value})

    yield from grow(0, {})
