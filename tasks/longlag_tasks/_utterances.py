"""Recorded utterances of several lengths, held end to end: drawing a batch is indexing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longlag.task import Array, DataError


@dataclass(frozen=True)
class Ragged:
    """Sequences end to end.

    Args:
        values: ``[N, ...]``, all steps of all sequences.
        starts: int64 ``[S + 1]``: sequence s is ``values[starts[s] : starts[s + 1]]``.
    """

    values: Array
    starts: Array

    @classmethod
    def of(cls, sequences: Sequence[Array]) -> Ragged:
        starts = np.cumsum([0, *(len(sequence) for sequence in sequences)])
        return cls(np.concatenate(sequences), starts.astype(np.int64))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def part(self, start: int, stop: int) -> Ragged:
        """The sequences from `start` to before `stop`, without a copy of their values."""
        starts = self.starts[start : stop + 1]
        return Ragged(self.values[starts[0] : starts[-1]], starts - starts[0])

    def pick(self, rows: Array) -> tuple[Array, Array]:
        """The given sequences, ``[T, B, ...]`` padded with zeros to the longest of them, and their lengths."""
        starts = self.starts.take(rows)
        lengths = self.starts.take(rows + 1) - starts
        step = np.arange(max(int(lengths.max()), 1))[:, None]
        places = np.minimum(starts + step, len(self.values) - 1)
        picked = self.values.take(places, axis=0)
        picked.reshape(places.size, -1)[np.flatnonzero(step >= lengths)] = 0
        return picked, lengths

    def joined(self, rows: Array) -> tuple[Array, Array]:
        """The given sequences one after the other, ``[N + 1, ...]``, zeros at the end; and their lengths."""
        starts = self.starts.take(rows)
        lengths = self.starts.take(rows + 1) - starts
        ends = lengths.cumsum()
        source = (starts - ends + lengths).repeat(lengths)
        source += np.arange(len(source))
        values = np.zeros((len(source) + 1, *self.values.shape[1:]), dtype=self.values.dtype)
        self.values.take(source, 0, values[:-1], "clip")  # "clip" writes to `out` itself, the default to a copy
        return values, lengths


def places(lengths: Array) -> Array:
    """Where steps stand among those of one sequence after the other, ``[T, B]``; N behind a sequence's end."""
    step = np.arange(int(lengths.max()))[:, None]
    ends = lengths.cumsum()
    return np.asarray(np.where(step < lengths, step + (ends - lengths), ends[-1]))


def first(count: int, size: int, what: str) -> Array:
    """The rows of an evaluation split: at most `size`, in an order of its own that is always the same."""
    if not count:
        raise DataError(f"there is nothing left for the {what} split")
    rows: Array = np.random.default_rng(0).permutation(count)[:size]
    return rows
