"""Random trees of ListOps, many at once, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from longlag.task import Array, DataError

OPERATIONS = ("[MIN", "[MAX", "[MED", "[SM")
SYMBOLS = (*"0123456789", *OPERATIONS, "]")
CLASSES = 10
CLOSE = len(SYMBOLS) - 1
INNER = 0.25
"""Chance of an operation above the last level."""

AT_ONCE = 4000
FRUITLESS = 200
"""Rounds of trees without one of the wanted length, after which nobody waits any longer."""


class Shape(NamedTuple):
    """What trees are kept: levels and arguments at most, and the open bounds of the number of symbols."""

    depth: int
    arguments: int
    above: int
    below: int


class Trees(NamedTuple):
    """Sequences one behind the other: all symbols, where each begins, its length and its value."""

    symbols: Array
    starts: Array
    lengths: Array
    values: Array


@dataclass
class Level:
    """The nodes of one level of all trees; the arguments of each operation stand together in the next level, in order.

    Args:
        tree: of each node.
        operation: of each node, -1 for a digit.
        count: arguments of each operation.
        digit: of each node.
        size: symbols of each node, those of its arguments included.
        start: its first symbol's place.
        value: of each node.
    """

    tree: Array
    operation: Array
    count: Array
    digit: Array
    size: Array
    start: Array
    value: Array


def trees(rng: np.random.Generator, shape: Shape, wanted: int) -> Trees:
    """So many trees of the wanted lengths.

    Raises:
        DataError: when hardly any tree has such a length.
    """
    parts: list[Trees] = []
    found = rounds = 0
    while found < wanted:
        part = _kept(rng, shape)
        parts.append(part)
        found, rounds = found + len(part.values), rounds + 1
        if rounds >= FRUITLESS and not found:
            raise DataError(
                f"no list of {shape.depth} levels and {shape.arguments} arguments has between {shape.above} and "
                f"{shape.below} symbols, of {FRUITLESS * AT_ONCE}"
            )
    offsets = np.cumsum([0, *(len(part.symbols) for part in parts[:-1])])
    symbols = np.concatenate([part.symbols for part in parts])
    starts = np.concatenate([part.starts + offset for part, offset in zip(parts, offsets, strict=True)])
    lengths, values = (np.concatenate([part[field] for part in parts]) for field in (2, 3))
    return Trees(symbols, starts[:wanted], lengths[:wanted], values[:wanted])


def _kept(rng: np.random.Generator, shape: Shape) -> Trees:
    """Those of some thousand trees that have the wanted length."""
    levels: list[Level] = []
    tree = np.arange(AT_ONCE)
    for depth in range(1, shape.depth + 1):
        nodes = len(tree)
        inner = rng.random(nodes) < (INNER if depth < shape.depth else 0)
        operation = np.where(inner, rng.integers(0, len(OPERATIONS), nodes), -1)
        count = np.where(inner, rng.integers(2, shape.arguments + 1, nodes), 0)
        digit = rng.integers(0, CLASSES, nodes)
        zeros = np.zeros(nodes, dtype=np.int64)
        levels.append(Level(tree, operation, count, digit, zeros, zeros.copy(), digit.copy()))
        tree = tree.repeat(count)
    for level, below in zip(levels[::-1], [None, *levels[:0:-1]], strict=True):
        level.size = np.ones(len(level.tree), dtype=np.int64)
        first = _firsts(level)
        if below is not None and len(first):
            inner = level.operation >= 0
            level.size[inner] = 2 + np.add.reduceat(below.size, first)
            level.value[inner] = _applied(level.operation[inner], below.value, first, level.count[inner])
    lengths = levels[0].size
    keep = (lengths > shape.above) & (lengths < shape.below)
    starts = np.where(keep, np.cumsum(np.where(keep, lengths, 0)) - lengths, 0)
    symbols = np.empty(int(lengths[keep].sum()), dtype=np.int64)
    levels[0].start = starts
    for level, below in zip(levels, [*levels[1:], None], strict=True):
        here = keep[level.tree]
        inner = level.operation >= 0
        symbols[level.start[here]] = np.where(inner, CLASSES + level.operation, level.digit)[here]
        closes = here & inner
        symbols[(level.start + level.size - 1)[closes]] = CLOSE
        if below is not None and inner.any():
            before = np.cumsum(below.size) - below.size
            first = _firsts(level)
            below.start = before + (level.start[inner] + 1 - before[first]).repeat(level.count[inner])
    return Trees(symbols, starts[keep], lengths[keep], levels[0].value[keep])


def _firsts(level: Level) -> Array:
    """Where in the next level the arguments of each operation begin."""
    count = level.count[level.operation >= 0]
    first: Array = np.cumsum(count) - count
    return first


def _applied(operation: Array, arguments: Array, first: Array, count: Array) -> Array:
    """The values of operations from those of their arguments."""
    group = np.arange(len(first)).repeat(count)
    ordered = arguments[np.lexsort((arguments, group))]
    lower, upper = ordered[first + (count - 1) // 2], ordered[first + count // 2]
    each = (
        ordered[first],
        ordered[first + count - 1],
        (lower + upper) // 2,
        np.add.reduceat(arguments, first) % CLASSES,
    )
    return np.choose(operation, each)


def value(symbols: list[int]) -> int:
    """The value of one list as a reader computes it."""
    stack: list[list[int]] = [[]]
    for symbol in symbols:
        if symbol < CLASSES:
            stack[-1].append(symbol)
        elif symbol < CLOSE:
            stack.append([symbol])
        else:
            operation, *arguments = stack.pop()
            half = sorted(arguments)[(len(arguments) - 1) // 2 : len(arguments) // 2 + 1]
            found = {"[MIN": min(arguments), "[MAX": max(arguments), "[MED": sum(half) // len(half)}
            stack[-1].append(found.get(SYMBOLS[operation], sum(arguments) % CLASSES))
    return stack[0][0]
