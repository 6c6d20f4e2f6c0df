"""Handwriting-like strokes: letters as curves through a few points, in a hand that differs from word to word."""

from __future__ import annotations

from functools import cache

import numpy as np

from longlag.task import Array
from longlag_tasks._utterances import Ragged

SHAPES = {
    "a": "75,95 35,100 5,50 30,0 70,35 78,95 75,30 95,0",
    "b": "5,180 5,90 5,5 10,60 45,100 75,50 45,0 10,15",
    "c": "75,85 40,100 5,50 40,0 80,20",
    "d": "75,90 35,100 5,50 30,0 70,40 78,180 76,50 95,0",
    "e": "8,50 70,60 45,100 5,50 40,0 80,20",
    "f": "70,165 45,180 30,140 30,0 | 5,95 60,95",
    "g": "75,90 35,100 5,55 35,10 72,50 78,90 75,-40 40,-80 5,-55",
    "h": "5,180 5,90 5,0 15,70 50,100 75,60 75,0",
    "i": "20,100 20,40 25,0 40,5 | 20,140 24,142",
    "j": "35,100 35,0 30,-60 0,-75 | 35,140 39,142",
    "k": "5,180 5,90 5,0 | 65,100 10,45 40,30 75,0",
    "l": "10,180 10,80 15,10 35,5",
    "m": "5,100 5,50 5,0 12,70 35,100 50,60 50,0 57,70 80,100 95,60 95,0",
    "n": "5,100 5,50 5,0 15,70 50,100 75,60 75,0",
    "o": "40,100 5,50 40,0 75,50 42,100",
    "p": "5,100 5,0 5,-80 7,40 40,100 75,50 40,0 10,20",
    "q": "75,90 35,100 5,50 35,0 72,50 78,90 75,-20 80,-80 100,-50",
    "r": "5,100 5,50 5,0 12,65 35,100 60,90",
    "s": "65,90 35,100 12,75 40,50 65,25 35,0 5,12",
    "t": "30,150 30,70 35,5 60,5 | 5,100 60,100",
    "u": "5,100 8,30 35,0 70,40 75,100 75,40 90,0",
    "v": "5,100 25,45 40,0 55,50 75,100",
    "w": "5,100 15,40 30,0 42,40 50,80 60,40 72,0 85,50 95,100",
    "x": "5,100 40,50 75,0 | 75,100 40,50 5,0",
    "y": "5,100 20,40 42,10 | 75,100 45,10 10,-80",
    "z": "8,100 40,100 72,98 40,50 8,2 40,0 75,0",
}
"""Points (x, y) in hundredths of the height of an x, y upward from the baseline; ``|`` where the pen is lifted."""

ALPHABET = "".join(SHAPES)
SPACING = 0.25
"""Between points along a curve, heights of an x."""

GAP = 0.3
"""From the right edge of a letter to the next."""

SLANT, WIDTH, SIZE = (-0.2, 0.5), (0.8, 1.2), (0.8, 1.2)
"""A hand: letters lean by SLANT (x over y), are WIDTH as wide as drawn here and SIZE as large; uniform."""


def curve(points: Array) -> Array:
    """Evenly spaced points ``[N, 2]`` on the Catmull-Rom spline through the given ones."""
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    t = np.linspace(0, 1, 20, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]
    fine = np.concatenate([*parts, points[-1:]])
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(fine, axis=0).T))])
    even = np.linspace(0, along[-1], max(2, round(along[-1] / SPACING) + 1))
    return np.stack([np.interp(even, along, fine[:, k]) for k in (0, 1)], 1)


@cache
def letters() -> tuple[Ragged, Array]:
    """Points of all letters, ``[N, 3]``: x, y, and 1 where the pen is lifted after it; and how far each advances."""
    drawn, advances = [], []
    for shape in SHAPES.values():
        strokes = []
        for stroke in shape.split("|"):
            points = curve(np.array([pair.split(",") for pair in stroke.split()], dtype=np.float64) / 100)
            strokes.append(np.column_stack([points, np.arange(len(points)) == len(points) - 1]))
        drawn.append(np.concatenate(strokes))
        advances.append(drawn[-1][:, 0].max() + GAP)
    return Ragged.of(drawn), np.array(advances)


def longest(count: int) -> int:
    """Points of the longest word of so many letters."""
    return int(np.diff(letters()[0].starts).max()) * count


def write(words: Array, hands: Array) -> tuple[Array, Array]:
    """Words as pen offsets.

    Args:
        words: places in the alphabet ``[B, L]``.
        hands: slant, width and size ``[B, 3]``.

    Returns:
        Offsets from the point before and lifting, float32 ``[T, B, 3]``, the first from the origin, in heights of an
        x; and the numbers of points ``[B]``.
    """
    shapes, exits = _moves()
    size_of = np.diff(shapes.starts)[words].T
    ends = size_of.cumsum(0)
    lengths = ends[-1]
    step = np.arange(int(lengths.max()))[:, None]
    exists = step < lengths
    slot = np.zeros(exists.shape, dtype=np.int64)  # the last letter's also after the end
    for end in ends[:-1]:
        slot += step >= end
    column = np.arange(len(words))
    first = ends - size_of
    place = (shapes.starts[words.T] - first).ravel().take(slot * len(words) + column)
    place += step
    written = shapes.values.take(np.where(exists, place, len(shapes.values) - 1), 0)
    for previous, here in zip(words.T, first[1:], strict=False):
        written[here, column, :2] += exits[previous]
    slant, width, size = hands.T.astype(np.float32)
    x, y = written[..., 0], written[..., 1]
    x *= width * size
    x += y * (slant * size)
    y *= size
    return written, lengths


@cache
def _moves() -> tuple[Ragged, Array]:
    """What the pen does from point to point, float32.

    Returns:
        of all letters, the offset to each point and its lifting, ``[N, 3]``, all zero in the last, which is no
        letter's; a letter is entered from where its left edge meets the baseline. And from each one's last point the
        offset to where the next is entered, ``[26, 2]``.
    """
    drawn, advances = letters()
    moves, exits = [], []
    for letter, advance in enumerate(advances):
        points = drawn.values[drawn.starts[letter] : drawn.starts[letter + 1]]
        steps = np.diff(points[:, :2], axis=0, prepend=np.zeros((1, 2)))
        moves.append(np.column_stack([steps, points[:, 2]]).astype(np.float32))
        exits.append([advance, 0] - points[-1, :2])
    return Ragged.of([*moves, np.zeros((1, 3), np.float32)]), np.array(exits, dtype=np.float32)


def hands(rng: np.random.Generator, size: int) -> Array:
    """Slant, width and size of so many hands, ``[B, 3]``."""
    low, high = np.array([SLANT, WIDTH, SIZE]).T
    return np.asarray(rng.uniform(low, high, (size, 3)))
