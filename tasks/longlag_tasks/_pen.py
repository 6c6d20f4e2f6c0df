"""Pen traces: their scale, positions, the distance of two, pictures in characters and on axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from longlag.task import Array, DataError

CHUNK = 100
"""Traces whose distances are computed at a time: a matrix of points by points each."""


@dataclass(frozen=True)
class Scale:
    """What the offsets of the training part are like.

    Args:
        mean: of x and y, ``[2]``, heights of an x or units of the recording.
        deviation: likewise; offsets are given in these.
        correlation: of x and y.
        lifted: share of the points after which the pen is lifted.
    """

    mean: Array
    deviation: Array
    correlation: float
    lifted: float

    @classmethod
    def of(cls, offsets: Array, name: str) -> Scale:
        """Of offsets ``[N, 3]``."""
        mean, deviation = offsets[:, :2].mean(0), offsets[:, :2].std(0)
        if not deviation.all():
            raise DataError(f"{name}: the pen never moves on one of its axes")
        correlation = float(np.mean(np.prod((offsets[:, :2] - mean) / deviation, axis=1)))
        return cls(mean, deviation, float(np.clip(correlation, -0.99, 0.99)), float(offsets[:, 2].mean()))

    def scaled(self, offsets: Array) -> Array:
        """Offsets in standard deviations, and liftings as they are, float32."""
        points = offsets.astype(np.float32)
        for axis in (0, 1):  # one after the other: NumPy is slow on short last axes
            points[..., axis] -= np.float32(self.mean[axis])
            points[..., axis] *= np.float32(1 / self.deviation[axis])
        return points

    def unscaled(self, offsets: Array) -> Array:
        return np.concatenate([offsets[..., :2] * self.deviation + self.mean, offsets[..., 2:]], -1)


def strokes(offsets: Array) -> list[Array]:
    """The strokes ``[N, 2]`` of offsets and liftings ``[T, 3]``."""
    points = np.cumsum(offsets[:, :2], axis=0, dtype=np.float64)
    return [part for part in np.split(points, np.flatnonzero(offsets[:, 2] > 0.5) + 1) if len(part)]


def distance(one: Array, other: Array, exists: Array) -> Array:
    """How far two drawings are from each other, ``[B]``.

    The mean distance from a point of the one to the nearest of the other, both ways (the chamfer distance), so that
    neither the order nor the pace of the writing counts.

    Args:
        one: positions ``[T, B, 2]``.
        other: the same.
        exists: bool ``[T, B]``, the points of both.
    """
    found = []
    for start in range(0, one.shape[1], CHUNK):
        some = slice(start, start + CHUNK)
        between = np.hypot(*np.moveaxis(one[:, None, some] - other[None, :, some], -1, 0))
        here = exists[:, some]
        between[~(here[:, None] & here[None])] = np.inf
        nearest = [np.where(here, between.min(axis), 0).sum(0) / here.sum(0) for axis in (0, 1)]
        found.append((nearest[0] + nearest[1]) / 2)
    return np.concatenate(found)


def sketch(offsets: Array, columns: int = 72, rows: int = 12) -> list[str]:
    """The trace of offsets ``[T, 3]`` in rows of characters, the pen's way filled in."""
    drawn = strokes(offsets)
    points = np.concatenate(drawn)
    low, high = points.min(0), points.max(0)
    unit = max(float(high[0] - low[0]) / (columns - 1), float(high[1] - low[1]) / (rows - 1) / 2, 1e-9)
    grid = np.full((rows, columns), " ")
    for part in drawn:
        even = np.linspace(0, len(part) - 1, 20 * len(part))
        x, y = (np.interp(even, np.arange(len(part)), part[:, k]) - low[k] for k in (0, 1))
        row = np.rint(y / unit / 2).astype(int).clip(0, rows - 1)
        grid[row, np.rint(x / unit).astype(int).clip(0, columns - 1)] = "•"
    used = max(int(np.rint((high[1] - low[1]) / unit / 2)) + 1, 1)
    return ["".join(row).rstrip() for row in grid[: min(used, rows)][::-1]]


def plot(axes: Any, offsets: Array, color: str, label: str) -> None:
    """The trace on matplotlib axes, one line a stroke."""
    for n, part in enumerate(strokes(offsets)):
        axes.plot(part[:, 0], part[:, 1], color=color, label=label if n == 0 else None, linewidth=1)
