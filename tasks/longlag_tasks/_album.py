"""Pictures as feature vectors, each with its captions: what a captioning task draws from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from longlag.task import Array, Batch
from longlag_tasks._pairs import Coded


@dataclass(frozen=True, eq=False)
class Album:
    """Pictures and captions.

    Args:
        features: float32 ``[N, C]``, what a model sees of each picture.
        captions: all captions of all pictures, coded, those of one picture in a row.
        first: int64 ``[N]``, the first caption of each picture.
        many: int64 ``[N]``, how many captions each has.
        texts: the captions as they were.
        rows: ``training``, ``validation`` and ``test``: int64 indices of pictures.
    """

    features: Array
    captions: Coded
    first: Array
    many: Array
    texts: Sequence[str]
    rows: Mapping[str, Array]

    def batch(self, pictures: Array, captions: Array) -> Batch:
        """Pictures with one caption each."""
        targets, lengths = self.captions.some(captions)
        inputs = np.zeros((0, len(pictures), 0), np.float32)
        return Batch(inputs, targets, context=self.features[pictures], target_lengths=lengths)

    @cached_property
    def found(self) -> dict[bytes, list[int]]:
        """From a feature vector to the pictures that have it."""
        known: dict[bytes, list[int]] = {}
        for row, values in enumerate(self.features):
            known.setdefault(values.tobytes(), []).append(row)
        return known

    def pictures(self, batch: Batch) -> list[list[int]]:
        """For each example the pictures with its features."""
        assert batch.context is not None
        return [self.found[np.ascontiguousarray(values).tobytes()] for values in batch.context]

    def captions_of(self, picture: int) -> range:
        return range(int(self.first[picture]), int(self.first[picture] + self.many[picture]))

    def references(self, batch: Batch) -> list[list[str]]:
        """For each example all captions of its picture."""
        return [
            list(dict.fromkeys(self.texts[n] for row in rows for n in self.captions_of(row)))
            for rows in self.pictures(batch)
        ]

    @cache  # noqa: B019 an album lives as long as the process
    def unigrams(self, first_only: bool) -> tuple[Array, float]:
        """Log probabilities of the symbols of the training captions, and their cross-entropy in nats.

        Each symbol is counted once more than it occurs, so that none is impossible.
        """
        weights = np.zeros(len(self.captions.values))
        for row in self.rows["training"]:
            every = self.captions_of(row)[:1] if first_only else self.captions_of(row)
            weights[every.start : every.stop] += 1 / len(every)
        exists = np.arange(self.captions.values.shape[1]) < self.captions.lengths[:, None]
        spread = np.broadcast_to(weights[:, None], exists.shape)[exists]
        counts = np.bincount(self.captions.values[exists], spread, minlength=len(self.captions.symbols))
        logs = np.log((counts + 1) / (counts + 1).sum())
        return logs, float(-(counts / counts.sum() * logs).sum())
