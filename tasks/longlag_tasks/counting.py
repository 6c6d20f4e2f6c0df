"""Counting: strings of as many b as a, or as many c as b as a; at every step, which symbols may follow?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyTask
from longlag_tasks._classes import CERTAIN
from longlag_tasks._lengths import LengthOptions, ragged
from longlag_tasks._recall import rows

LETTERS = {"anbn": "ab", "anbncn": "abc"}


class CountingOptions(LengthOptions):
    """Options of `Counting`."""

    length: int = Field(40, ge=2, le=10**6, description="the most steps of a string")
    least: int | None = Field(2, ge=1, description="the fewest; none: all have the most that letters divide")
    language: Literal["anbn", "anbncn"] = Field("anbn", description="n a, then n b; anbncn: then n c")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large a share of strings right")

    @model_validator(mode="after")
    def _any(self) -> Self:
        if not self.counts:
            raise ValueError(f"no string of {self.language} has {self.least} to {self.length} steps")
        return self

    @property
    def counts(self) -> range:
        """The n that there are, each as likely as every other."""
        letters = len(LETTERS[self.language])
        most = self.length // letters
        return range(most if self.least is None else -(-self.least // letters), most + 1)


class Counting(AccuracyTask[CountingOptions]):
    """Strings ``a^n b^n`` or ``a^n b^n c^n``; at every step, which symbols may follow?

    n is uniform. After an a may follow a or b; after a b that is not the last only b, and so on; after the last symbol
    the end. A string is right if every step is. The first b, and only it, must wait for no count; the end and the
    first c come at a step that only a counter finds. Gers and Schmidhuber (2001), whose LSTM learns from n up to 10 to
    count to 1000; Weiss, Goldberg and Yahav (2018).

    Shapes: inputs int64 ``[T, B]``; targets float32 ``[T, B, letters + 1]``, 1 for every symbol that may follow, the
    end last. The loss is that of independent yes/no outputs, in nats, summed over them, mean over the steps.
    """

    metrics = (
        Metric("bernoulli", "min", "nats", "sum over the symbols, mean over the steps"),
        Metric("accuracy", "max", "share", "strings with every step right", best=1.0),
        Metric(
            "steps_right", "max", "share", "steps where the outputs above 0 are the symbols that may follow", best=1.0
        ),
    )

    @property
    def _letters(self) -> str:
        return LETTERS[self.options.language]

    @property
    def signature(self) -> Signature:
        letters = len(self._letters)
        return Signature(Tokens(letters), letters + 1, MappingKind.LABELLING, "bernoulli")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        letters, counts = len(self._letters), self.options.counts
        count = rng.integers(counts.start, counts.stop, size)
        steps = np.arange(letters * int(count.max()))[:, None]
        read = (steps >= count).astype(np.int64)
        follows = (steps >= count - 1).astype(np.int64)  # what follows for sure: the letter of the next step
        for letter in range(2, letters + 1):
            read += steps >= letter * count
            follows += steps >= letter * count - 1
        targets = self._table.take(read * (letters + 2) + follows, axis=0)
        return ragged(np.where(read < letters, read, 0), targets, letters * count)

    @cached_property
    def _table(self) -> Array:
        """The targets, by the letter that is read and that of the next step; behind the end zeros."""
        letters = len(self._letters)
        table = np.zeros((letters + 1, letters + 2, letters + 1), dtype=np.float32)
        for read in range(letters):
            for follows in range(letters + 1):
                table[read, follows, follows] = 1
        table[0, :, :2] = 1
        return table.reshape(-1, letters + 1)

    def baseline(self) -> Baseline:
        rates = self._rates
        return Baseline(
            float(-(rates * np.log(rates) + (1 - rates) * np.log(1 - rates)).sum()),
            "no memory: each symbol may follow as often as it does on average",
            "entropies of the rates: a 1/m, b (2E-1)/(mE), c 1/m, the end 1/(mE); m letters, E the mean of n",
        )

    @property
    def _rates(self) -> Array:
        letters, mean = len(self._letters), (self.options.counts.start + self.options.counts.stop - 1) / 2
        rates = np.full(letters + 1, 1 / letters)
        rates[1], rates[-1] = (2 * mean - 1) / (letters * mean), 1 / (letters * mean)
        return rates

    def trivial(self, batch: Batch) -> Array:
        logits = np.log(self._rates / (1 - self._rates)).astype(np.float32)
        return np.broadcast_to(logits, (batch.steps, batch.size, len(logits))).copy()

    def oracle(self, batch: Batch) -> Array:
        """With a counter for each letter."""
        letters = len(self._letters)
        seen = (batch.inputs[..., None] == np.arange(letters)).cumsum(0)
        follow = np.zeros((*batch.inputs.shape, letters + 1), dtype=bool)
        for letter in range(letters):
            now = batch.inputs == letter
            full = seen[..., letter] == seen[..., 0]
            follow[..., letter] |= now & ((letter == 0) | ~full)
            follow[..., letter + 1] |= now & full
        logits: Array = np.where(follow, CERTAIN, -CERTAIN).astype(np.float32)
        return logits

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        nats: Array = np.sum(np.logaddexp(0, outputs) - outputs * batch.targets, axis=-1)
        right, exists = self._right(outputs, batch)
        return {
            "bernoulli": float(nats[exists].mean()),
            "accuracy": float((right | ~exists).all(0).mean()),
            "steps_right": float(right[exists].mean()),
        }

    def _right(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
        right = ((outputs > 0) == (batch.targets > 0)).all(-1)
        exists = batch.exists()
        return right, np.ones(right.shape, dtype=bool) if exists is None else exists

    def right(self, outputs: Array, batch: Batch) -> Array:
        """1 for a string with every step right."""
        right, exists = self._right(outputs, batch)
        return np.asarray((right | ~exists).all(0), dtype=np.float64)

    def describe(self, batch: Batch, index: int) -> str:
        """What is read, and what may follow it; ``.`` is the end."""
        length, names = int(self.lengths(batch)[index]), self._letters + "."
        read = [f"{names[symbol]:2}" for symbol in batch.inputs[:length, index]]
        follow = ["".join(names[k] for k in np.flatnonzero(step)).ljust(2) for step in batch.targets[:length, index]]
        return "\n".join([*rows("reads", read), *rows("may follow", follow)])
