"""The points of a space: its axes in order, which of them exist at a point, how many points there are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from longlag.errors import UserError, quoted, suggestion
from longlag.spec.axes import (
    Finder,
    Range,
    Space,
    applies,
    choices,
    compact,
    condition,
    label,
    labels,
    matcher,
)

MANY = 100_000
"""Points of the largest grid."""
Kind = frozenset[str]
"""A kind of value of an axis: those others whose conditions name it. None stands for an axis that does not exist."""


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
    wanted: dict[str, list[Any]] = {}
    todo = [path]
    while todo:  # all that it hangs on has to exist as well
        here = todo.pop()
        for other, values in condition(space[here]).items():
            finder = Finder(other, space[other])
            found = {label(value): value for each in values for value in finder.find(each)}
            if other not in wanted:
                todo.append(other)
            wanted[other] = [value for value in wanted.get(other, found.values()) if label(value) in found]
    return {other: values[0] for other, values in wanted.items()} if all(wanted.values()) else None


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
    if path in wanted and not matcher(wanted[path])(value):
        return False
    return all(_together(space, path, value, parent) for parent in wanted if parent != path)


class Named:
    """Points that somebody names, with the values of the space.

    Args:
        space: the axes.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.finders = space, {path: Finder(path, given) for path, given in space.items()}

    def point(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A point by the names of its values; axes left out stay open.

        Raises:
            UserError: for an axis or value that is not there, or an axis that does not exist at this point.
        """
        space = self.space
        result: dict[str, Any] = {}
        for path, wanted in given.items():
            if path not in space:
                hint = suggestion(str(path), list(space)) or f"; there are {', '.join(space)}"
                raise UserError(f"there is no axis {quoted(path)} in the space{hint}")
            found = self.finders[path].find(wanted)
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
    """How many points the space has; None where a range is open, or conditions make more than `MANY` to be told apart.

    Points are counted, not listed: the values of an axis that the same conditions name are alike, and axes that no
    condition joins are independent.
    """
    total = 1
    for group in _joined(space):
        count = _count(space, group)
        if count is None:
            return None
        total *= count
    return total


def _joined(space: Space) -> Iterator[list[str]]:
    """Groups of axes that conditions join, each in order."""
    order = in_order(space)
    group = {path: path for path in order}
    for path in order:
        for other in condition(space[path]):
            old, new = group[path], group[other]
            group = {each: new if of == old else of for each, of in group.items()}
    for of in dict.fromkeys(group.values()):
        yield [path for path in order if group[path] == of]


def _count(space: Space, group: list[str]) -> int | None:
    """The points of some axes, which conditions join.

    One axis after another is decided. Kept are only the kinds of value of those axes that others still hang on, each
    combination with the number of points that lead to it. At least so many points have to be told apart.
    """
    hang = {path: [other for other in group if path in condition(space[other])] for path in group}
    kinds = {path: _kinds(space, path, hang[path]) for path in group}
    done: set[str] = set()
    open_axes: list[str] = []
    counts: dict[tuple[Kind | None, ...], int] = {(): 1}

    def after(path: str) -> list[str]:
        """What others hang on once this axis is decided."""
        return [each for each in (*open_axes, path) if any(other not in done and other != path for other in hang[each])]

    def combinations(path: str) -> int:
        return math.prod(len(kinds[each] or ()) + 1 for each in after(path))

    while len(done) < len(group):
        ready = [path for path in group if path not in done and done.issuperset(condition(space[path]))]
        path = min(ready, key=combinations)
        keep, found = after(path), Counter[tuple[Kind | None, ...]]()
        for state, count in counts.items():
            at = dict(zip(open_axes, state, strict=True))
            exists = all(path in (at[other] or ()) for other in condition(space[path]))
            here = kinds[path] if exists else {None: 1}
            if here is None:
                return None
            for kind, values in here.items():
                at[path] = kind
                found[tuple(at[each] for each in keep)] += count * values
            if len(found) > MANY:
                return None
        done.add(path)
        open_axes, counts = keep, found
    return counts[()]


def _kinds(space: Space, path: str, hang: list[str]) -> dict[Kind | None, int] | None:
    """How many values of an axis are of each kind; None for an open range."""
    given = space[path]
    named = {other: matcher(condition(space[other])[path]) for other in hang}
    total, listed = 0, choices(given)
    if isinstance(given, Range):
        found = given.count()
        if found is None:
            return None
        finder, wanted = Finder(path, given), [each for other in hang for each in condition(space[other])[path]]
        total, listed = found, list(dict.fromkeys(value for each in wanted for value in finder.find(each)))
    kinds = Counter[Kind | None](
        frozenset(other for other, is_named in named.items() if is_named(value)) for value in listed or ()
    )
    if total > kinds.total():
        kinds[frozenset()] += total - kinds.total()
    return kinds


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
