"""The points of a space: its axes in order, which of them exist at a point, how many points there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from longlag.errors import UserError, quoted, suggestion
from longlag.spec.axes import (
    OTHERS,
    Range,
    Space,
    applies,
    choices,
    compact,
    condition,
    find,
    label,
    labels,
    means,
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
                        raise UserError(f"space.{path}: when: there is no axis {quoted(other)} in the space{hint}")
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


def check_apart(space: Space, named: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Refuse a space in which a value of one axis sets a field that another axis sets again: its label would be wrong.

    Args:
        space: the axes.
        named: for an axis whose values are names, the fields that each of them sets, by dotted path.

    Raises:
        UserError: naming the value and both axes.
    """
    for path, given in space.items():
        for value in choices(given) or []:
            sets = named[path][value] if path in named else {path: value} if isinstance(value, Mapping) else {}
            leaves = [leaf for field, inner in sets.items() for leaf in _leaves(field, inner)]
            for other in space:
                clash = next((leaf for leaf in leaves if other != path and _within(leaf, other)), None)
                if clash is not None and _together(space, path, value, other):
                    said = quoted(label(value))
                    raise UserError(f"space.{path}: the value {said} sets {clash}, and so does the axis {other}")


def _leaves(path: str, value: Any) -> Iterator[str]:
    """The fields that a value sets."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner)
    else:
        yield path


def _within(path: str, other: str) -> bool:
    return path == other or path.startswith(f"{other}.")


def _together(space: Space, path: str, value: Any, other: str) -> bool:
    """Whether another axis may exist where an axis has this value."""
    wanted = condition(space[other])
    if path in wanted and not any(means(each, value) for each in wanted[path]):
        return False
    return all(_together(space, path, value, parent) for parent in wanted if parent != path)


def point(space: Space, given: Mapping[str, Any]) -> dict[str, Any]:
    """A point that somebody names, with the values of the space; axes left out stay open.

    Raises:
        UserError: for an axis or value that is not there, or an axis that does not exist at this point.
    """
    result: dict[str, Any] = {}
    for path, wanted in given.items():
        if path not in space:
            hint = suggestion(str(path), list(space)) or f"; there are {', '.join(space)}"
            raise UserError(f"there is no axis {quoted(path)} in the space{hint}")
        found = find(path, space[path], wanted)
        if len(found) > 1:
            several = ", ".join(str(label(value)) for value in found)
            raise UserError(f"{path}: {compact(wanted)} is one of {several}; give its options too")
        result[path] = found[0]
    for path in result:
        for other in condition(space[path]):
            if other not in result:
                raise UserError(f"{path} exists for some values of {other} only; give {other} too")
        if not applies(space[path], result):
            at = ", ".join(f"{other} {compact(result[other])}" for other in condition(space[path]))
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
