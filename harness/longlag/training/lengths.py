"""How accuracy depends on the length of the sequences, over several splits of one run."""

from __future__ import annotations

import numpy as np

from longlag.task import Array, Batch, Task

POINTS = 32
"""Where there are more lengths, neighbours are put together."""

LengthPoint = tuple[float, float, int]
"""Mean length, share that is right, sequences."""


class AccuracyByLength:
    """Collects the share that is right of every sequence, with its length."""

    def __init__(self) -> None:
        self.lengths: list[Array] = []
        self.right: list[Array] = []

    def add(self, task: Task, outputs: Array, batch: Batch) -> None:
        """The sequences of a split, with what a model made of them; nothing where the task does not say."""
        right = task.right(outputs, batch)
        if right is not None:
            self.lengths.append(task.lengths(batch))
            self.right.append(right)

    def points(self) -> tuple[LengthPoint, ...]:
        """At most `POINTS` groups of neighbouring lengths; none where all sequences are equally long."""
        if not self.lengths:
            return ()
        lengths, right = np.concatenate(self.lengths), np.concatenate(self.right)
        known = np.unique(lengths)
        if len(known) < 2:
            return ()
        groups = np.array_split(known, min(POINTS, len(known)))
        group = np.searchsorted([part[-1] for part in groups], lengths)
        count = np.bincount(group)
        means = (np.bincount(group, values) / count for values in (lengths, right))
        return tuple((float(x), float(y), int(n)) for x, y, n in zip(*means, count, strict=True))
