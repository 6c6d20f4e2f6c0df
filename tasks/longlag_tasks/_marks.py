"""Sequences of values of which two are marked: the input of the adding and the multiplication problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longlag.task import Array

FIRST_PAIRS = 10
"""1997: the first mark falls on one of so many first pairs."""

MINIMUM = {"1997": FIRST_PAIRS + 1, "pascanu": 10}
"""The shortest length: ten pairs to mark and a final one; a first tenth of one step."""


@dataclass(frozen=True)
class Marked:
    """Marked sequences.

    Args:
        inputs: float32 ``[T, B, 2]``, values and marks, zero past the lengths.
        lengths: int64 ``[B]``, steps.
        first: float32 ``[B]``, the first marked value, or what stands for it where its mark is covered.
        second: the same of the second.
    """

    inputs: Array
    lengths: Array
    first: Array
    second: Array


def distinct(first: Array, second: Array) -> tuple[Array, Array]:
    """Two draws without replacement: `second` counts only the steps that `first` left."""
    return first, second + (second >= first)


def _empty(uniform: Array, lengths: Array) -> tuple[Array, Array, Array]:
    """Inputs ``[T, B, 2]`` without marks, the values up to the lengths; and views of their values and marks."""
    inputs = np.zeros((*uniform.shape, 2), dtype=np.float32)
    values, marks = inputs[..., 0], inputs[..., 1]
    np.copyto(values, uniform, where=np.arange(len(uniform))[:, None] < lengths)
    return inputs, values, marks


def draw_1997(rng: np.random.Generator, length: int, size: int, lowest: float, covered: float) -> Marked:
    """Hochreiter and Schmidhuber (1997), experiments 4 and 5.

    The length is uniform on ``T ... T + floor(T/10)``. The first mark is uniform on pairs 0 ... 9, the second on the
    first ``floor(T/2) - 1`` pairs that are still unmarked. Marks are 1 at both, -1 at the first and the final pair,
    else 0; a mark on the first pair is covered by its -1.

    Args:
        rng: the generator.
        length: T, at least 11.
        size: B.
        lowest: values are uniform on ``[lowest, 1)``.
        covered: what a value counts as where its mark is covered.
    """
    steps, columns = length + length // 10, np.arange(size)
    lengths = rng.integers(length, steps + 1, size)
    uniform = rng.random((steps, size), dtype=np.float32)
    if lowest:
        uniform *= 1 - lowest
        uniform += lowest
    inputs, values, marks = _empty(uniform, lengths)
    first, second = distinct(rng.integers(0, FIRST_PAIRS, size), rng.integers(0, length // 2 - 1, size))
    marks[first, columns] = marks[second, columns] = 1
    marks[0] = marks[lengths - 1, columns] = -1
    one, two = (np.where(step == 0, covered, values[step, columns]) for step in (first, second))
    return Marked(inputs, lengths, one, two)


def draw_pascanu(rng: np.random.Generator, length: int, size: int) -> Marked:
    """The code of Pascanu, Mikolov and Bengio (2013).

    The length ``l`` is uniform on ``T ... T + floor(T/10) - 1``, values are uniform on ``[0, 1)``; one mark of 1 is
    uniform on the first ``floor(l/10)`` steps, the other on the next ``floor(2l/5)``; other marks are 0.

    Args:
        rng: the generator.
        length: T, at least 10.
        size: B.
    """
    steps, columns = length + length // 10 - 1, np.arange(size)
    lengths = rng.integers(length, steps + 1, size)
    inputs, values, marks = _empty(rng.random((steps, size), dtype=np.float32), lengths)
    tenth = lengths // 10
    first, second = rng.integers(0, tenth), rng.integers(tenth, tenth + 2 * lengths // 5)
    marks[first, columns] = marks[second, columns] = 1
    return Marked(inputs, lengths, values[first, columns], values[second, columns])


def drawing(values: Array, marks: Array, lowest: float, target: float) -> str:
    """Rows of fifty steps: values as bars from lowest to highest, and below them the marks; then the answer."""
    levels = np.clip((values - lowest) / (1 - lowest) * 8, 0, 7).astype(int)
    bars = "".join("▁▂▃▄▅▆▇█"[level] for level in levels)
    signs = "".join({1: "^", -1: "-"}.get(int(mark), " ") for mark in marks)
    rows = [
        f"step {start:>6}  {bars[start : start + 50]}\n{'':13}{signs[start : start + 50]}".rstrip()
        for start in range(0, len(values), 50)
    ]
    marked = ", ".join(f"{values[step]:.4f} at step {step}" for step in np.flatnonzero(marks == 1))
    return "\n".join([*rows, f"marked  {marked or 'nothing'}", f"target  {target:.4f}"])
