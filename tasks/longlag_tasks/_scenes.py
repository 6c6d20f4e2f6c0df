"""Scenes of coloured shapes on a grid: drawn, rendered, described, and read off for what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longlag.task import Array

GRID, CELL = 4, 5
"""Cells along a side, and pixels along a side of a cell."""

PIXELS = (GRID * CELL) ** 2 * 3
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
SPRITES = {
    "square": ("####", "####", "####", "####"),
    "ring": ("####", "#..#", "#..#", "####"),
    "triangle": ("#...", "##..", "###.", "####"),
    "cross": ("#..#", ".##.", ".##.", "#..#"),
}
COUNTS = ("a", "two", "three")
RELATIONS = ("left of", "above", "right of", "below")
OPPOSITE = {"left of": "right of", "above": "below", "right of": "left of", "below": "above"}
SHAPES = tuple(SPRITES)
PLURALS = {f"{shape}es" if shape.endswith("s") else f"{shape}s": shape for shape in SHAPES}
KINDS = len(COLOURS) * len(SHAPES)
"""A kind is a colour and a shape: ``len(SHAPES) * colour + shape``."""

HELD_KINDS = np.array([colour * len(SHAPES) + (colour + 1) % len(SHAPES) for colour in range(len(COLOURS))])
"""Those that the split by combinations never shows in training: one for every colour and every shape."""

Claim = tuple[int, str, str]
"""Objects of one kind: how many, colour, shape."""


@dataclass(frozen=True)
class Scenes:
    """Scenes of one or two groups of objects.

    Args:
        kinds: int64 ``[N, 2]``, of each group; -1 for no second group.
        counts: int64 ``[N, 2]``, objects of each group.
        cells: int64 ``[N, GRID * GRID]``: 0 empty, 1 of the first group, 2 of the second.
    """

    kinds: Array
    counts: Array
    cells: Array

    def some(self, rows: Array) -> Scenes:
        return Scenes(self.kinds[rows], self.counts[rows], self.cells[rows])

    def shown(self) -> Array:
        """The kind in every cell, int8 ``[N, GRID * GRID]``; -1 for none."""
        kinds = np.concatenate([np.full((len(self.kinds), 1), -1), self.kinds], 1)
        return np.take_along_axis(kinds, self.cells, 1).astype(np.int8)

    def render(self) -> Array:
        """Pictures uint8 ``[N, PIXELS]``, 0 or 1: rows, columns, colour channels."""
        sprites = np.array([[[mark == "#" for mark in line] for line in SPRITES[shape]] for shape in SHAPES], np.uint8)
        tiles = np.zeros((KINDS + 1, CELL, CELL, 3), np.uint8)
        for kind in range(KINDS):
            colour, shape = divmod(kind, len(SHAPES))
            tiles[kind, :4, :4] = sprites[shape][..., None] * np.array(list(COLOURS.values())[colour], np.uint8)
        shown = tiles[self.shown()]  # kind -1 is the last tile: nothing
        rows = shown.reshape(-1, GRID, GRID, CELL, CELL, 3).transpose(0, 1, 3, 2, 4, 5)
        return np.ascontiguousarray(rows.reshape(len(shown), PIXELS))

    def relations(self) -> Array:
        """Which of `RELATIONS` the first group has to the second, bool ``[N, 4]``."""
        place = np.arange(GRID * GRID)
        ends = []
        for axis in (place % GRID, place // GRID):
            for group in (1, 2):
                mine = self.cells == group
                low, high = np.where(mine, axis, GRID).min(1), np.where(mine, axis, -1).max(1)
                ends.append((low, high))
        (left, right), (other_left, other_right), (top, bottom), (other_top, other_bottom) = ends
        found = [right < other_left, bottom < other_top, left > other_right, top > other_bottom]
        return np.stack(found, 1) & (self.kinds[:, 1:] >= 0)

    def claims(self, row: int) -> list[Claim]:
        """What there is."""
        names = list(COLOURS)
        return [
            (int(count), names[kind // len(SHAPES)], SHAPES[kind % len(SHAPES)])
            for kind, count in zip(self.kinds[row], self.counts[row], strict=True)
            if kind >= 0
        ]


def draw(rng: np.random.Generator, size: int) -> Scenes:
    """Scenes: one or two groups, 1 ... 3 objects in each, of different kinds.

    Two groups stand on either side of a line between columns or between rows, so that at least one relation holds.
    """
    first = rng.integers(0, KINDS, size)
    second = (first + rng.integers(1, KINDS, size)) % KINDS
    two = rng.integers(0, 2, size, dtype=bool)
    counts = rng.integers(1, len(COUNTS) + 1, (size, 2)) * np.stack([np.ones(size, int), two], 1)
    place = np.arange(GRID * GRID)
    upright, line = rng.integers(0, 2, (size, 1), dtype=bool), rng.integers(1, GRID, (size, 1))
    before = np.where(upright, place % GRID, place // GRID) < line
    swap = rng.integers(0, 2, (size, 1), dtype=bool)
    cells = np.zeros((size, GRID * GRID), dtype=np.int64)
    for group, side in ((1, before ^ swap), (2, ~before ^ swap)):
        allowed = side | ~two[:, None]
        order = np.argsort(rng.random(cells.shape) + 2.0 * ~allowed, 1)
        chosen = np.zeros(cells.shape, dtype=bool)
        np.put_along_axis(chosen, order, place < counts[:, group - 1 : group], 1)
        cells[chosen] = group
    return Scenes(np.stack([first, np.where(two, second, -1)], 1), counts, cells)


def phrase(claim: Claim) -> str:
    """``a red square``, ``two red squares``."""
    count, colour, shape = claim
    plural = next(many for many, one in PLURALS.items() if one == shape)
    return f"{COUNTS[count - 1]} {colour} {shape if count == 1 else plural}"


def captions(claims: Sequence[Claim], relations: Array) -> list[str]:
    """Every caption that is true and tells all; the first is the one from left to right, else from top to bottom."""
    phrases = [phrase(claim) for claim in claims]
    if len(phrases) == 1:
        return [phrases[0], f"there {'is' if claims[0][0] == 1 else 'are'} {phrases[0]}"]
    holds = [name for name, true in zip(RELATIONS, relations, strict=True) if true]
    said = dict.fromkeys(holds, (phrases[0], phrases[1]))
    said.update({OPPOSITE[name]: (phrases[1], phrases[0]) for name in holds})
    return [f"{said[name][0]} {name} {said[name][1]}" for name in RELATIONS if name in said]


def read(caption: str) -> tuple[list[Claim | None], str | None]:
    """What a caption claims: its phrases (None for one that is no phrase), and the relation between two."""
    for opening in ("there is ", "there are "):
        caption = caption.removeprefix(opening)
    for name in RELATIONS:
        one, relation, other = caption.partition(f" {name} ")
        if relation:
            return [_claim(one), _claim(other)], name
    return [_claim(caption)], None


def _claim(text: str) -> Claim | None:
    words = text.split()
    if len(words) != 3 or words[0] not in COUNTS or words[1] not in COLOURS:
        return None
    count = COUNTS.index(words[0]) + 1
    shape = words[2] if count == 1 else PLURALS.get(words[2], "")
    return (count, words[1], shape) if shape in SHAPES else None


def judged(caption: str, claims: Sequence[Claim], relations: Array) -> tuple[bool, bool, bool]:
    """Whether a caption is right about objects (shapes and how many), colours (of which shapes) and the relation."""
    said, name = read(caption)
    known = [claim for claim in said if claim is not None]
    objects = sorted((count, shape) for count, _, shape in known) == sorted((c, s) for c, _, s in claims)
    colours = sorted((colour, shape) for _, colour, shape in known) == sorted((c, s) for _, c, s in claims)
    if len(claims) == 1:
        return objects, colours, name is None and len(known) == 1
    kinds = [(colour, shape) for _, colour, shape in claims]
    kinds_named = [(colour, shape) for _, colour, shape in known]
    if name is None or sorted(kinds_named) != sorted(kinds):
        return objects, colours, False
    stated = name if kinds_named == kinds else OPPOSITE[name]
    return objects, colours, bool(relations[RELATIONS.index(stated)])


def sketch(scenes: Scenes, row: int) -> list[str]:
    """The grid in letters: ``rs`` for a red square, ``··`` for nothing."""
    marks = ["··", *(f"{colour[0]}{shape[0]}" for _, colour, shape in scenes.claims(row))]
    cells = scenes.cells[row].reshape(GRID, GRID)
    return [" ".join(marks[cell] for cell in line) for line in cells]
