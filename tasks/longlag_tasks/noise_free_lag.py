"""Long lags without noise on the channel: the last symbol is the first, whatever came between."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import CERTAIN, certain, log_likelihood

STOP = 0.1
"""2c: the chance of the trigger at every step past the least lag."""

TOLERANCE = {"2a": 0.25, "2b": 0.25, "2c": 0.2}
"""The published bound on the absolute error of every output."""


class NoiseFreeLagOptions(Options):
    """Options of `NoiseFreeLag`."""

    length: int = Field(100, ge=2, description="the lag, steps: p in 2a and 2b, q in 2c")
    variant: Literal["2a", "2b", "2c"] = Field(
        "2a",
        description="2a: always the same symbols between; 2b: random ones; 2c: at least q random ones and a trigger",
    )
    distractors: int | None = Field(None, ge=1, description="2c: p, different symbols between; none: as many as q")
    solved_share: float = Field(1.0, gt=0, le=1, description="solved when at least this share is within the bound")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.distractors is not None and self.variant != "2c":
            raise ValueError(f"distractors belongs to the variant '2c'; {self.variant!r} has length - 1 of them")
        return self


class NoiseFreeLag(Task[NoiseFreeLagOptions]):
    """Remember which of two symbols, x or y, came first (2c: second), and predict it as the last one.

    2a (default)
        One of two sequences, ``(x, a_1, a_2, ..., a_{p-1}, x)`` and the same with y, p = length. At each of the p
        steps the next symbol is to be predicted. Tokens: ``a_i`` is i - 1, x is p - 1, y is p.
    2b
        The same with i.i.d. uniform symbols between, of the p - 1: only the last can be predicted, the others have
        the entropy ln(p - 1).
    2c
        ``(b, x, d_1, ..., d_{q+k}, e, x)`` or with y, q = length, k geometric: after q distractors the trigger e comes
        with probability 1/10 at every step. Distractors are uniform on p symbols (p = distractors, or q). Only x or y
        is asked for, after e. Tokens: ``a_i`` is i - 1, e is p, b is p + 1, x is p + 2, y is p + 3.

    Hochreiter and Schmidhuber (1997), experiment 2. Shapes: 2a, 2b: inputs and targets int64 ``[p, B]``, p + 1
    classes (labelling); 2c: inputs int64 ``[T, B]``, T the longest of the batch, padded with 0, targets int64
    ``[B]``, 2 classes. The loss is the cross-entropy in nats over every step that is asked for; the score,
    ``final_cross_entropy``, is that of the last symbol alone. ``within`` judges as the paper does: the outputs of
    every step (2a) or at the end, less than 0.25 (2c: 0.2) from 0 or 1.
    """

    metrics = (
        Metric("final_cross_entropy", "min", "nats", "of the last symbol, mean over the sequences"),
        Metric("within", "max", "share", "sequences with all outputs that are judged within the bound", best=1.0),
        Metric("accuracy", "max", "share", "sequences whose last symbol has the largest output", best=1.0),
    )

    @property
    def _symbols(self) -> int:
        """Different symbols between the first and the last."""
        length, distractors = self.options.length, self.options.distractors
        if self.options.variant != "2c":
            return int(length - 1)
        return int(length if distractors is None else distractors)

    @property
    def signature(self) -> Signature:
        if self.options.variant == "2c":
            return Signature(Tokens(self._symbols + 4), 2, MappingKind.CLASSIFICATION, "cross-entropy")
        return Signature(Tokens(self._symbols + 2), self._symbols + 2, MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        bound, where = (
            TOLERANCE[self.options.variant],
            "of every step" if self.options.variant == "2a" else "at the end",
        )
        return f"within (all outputs {where} less than {bound:g} off) of at least {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["within"] >= self.options.solved_share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        which = rng.integers(0, 2, size)
        if self.options.variant == "2c":
            return self._sample_2c(rng, which)
        symbols = self._symbols
        row = np.empty((self.options.length + 1, size), dtype=np.int64)
        row[0] = row[-1] = symbols + which
        if self.options.variant == "2a":
            row[1:-1] = np.arange(symbols)[:, None]
        else:
            row[1:-1] = rng.integers(0, symbols, (symbols, size))
        return Batch(row[:-1], row[1:])

    def _sample_2c(self, rng: np.random.Generator, which: Array) -> Batch:
        size, symbols = which.size, self._symbols
        lengths = self.options.length + 2 + rng.geometric(STOP, size)  # b, x or y, distractors, e
        steps = int(lengths.max())
        inputs = rng.integers(0, symbols, (steps, size))
        inputs[0], inputs[1] = symbols + 1, symbols + 2 + which
        inputs[lengths - 1, np.arange(size)] = symbols
        inputs[np.arange(steps)[:, None] >= lengths] = 0
        return Batch(inputs, which, lengths)

    def baseline(self) -> Baseline:
        return Baseline(log(2), "no memory: x or y, equally likely, and what is known of the others", "ln 2")

    def trivial(self, batch: Batch) -> Array:
        logits = self._between(batch)
        if self.options.variant != "2c":
            logits[-1, :, self._symbols :] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        """The last symbol from the first; 2b: the distractors equally likely, the best that can be done."""
        if self.options.variant == "2c":
            return certain(batch.inputs[1] - self._symbols - 2, 2)
        logits = self._between(batch)
        logits[-1] = certain(batch.inputs[0], self._symbols + 2)
        return logits

    def _between(self, batch: Batch) -> Array:
        """The best logits for the symbols between, zeros for the last."""
        if self.options.variant == "2c":
            return np.zeros((batch.size, 2), dtype=np.float32)
        logits = np.zeros((batch.steps, batch.size, self._symbols + 2), dtype=np.float32)
        if self.options.variant == "2a":
            logits[:-1] = certain(np.arange(self._symbols), self._symbols + 2)[:, None]
        else:
            logits[:-1, :, : self._symbols] = CERTAIN
        return logits

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        judged, targets = outputs, batch.targets
        if self.options.variant == "2c":
            judged, targets = outputs[None], targets[None]
        elif self.options.variant == "2b":
            judged, targets = outputs[-1:], targets[-1:]
        likelihood = log_likelihood(judged, targets)
        return {
            "final_cross_entropy": float(-likelihood[-1].mean()),
            "within": float(np.mean((np.exp(likelihood) > 1 - TOLERANCE[self.options.variant]).all(0))),
            "accuracy": float(np.mean(judged[-1].argmax(-1) == targets[-1])),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """Inputs by name and number, and the last symbol."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        symbols, late = self._symbols, self.options.variant == "2c"
        names = dict(enumerate("ebxy" if late else "xy", symbols))
        words = [names.get(int(symbol), f"{int(symbol) + 1}") for symbol in batch.inputs[:length, index]]
        last = "xy"[int(batch.targets[index])] if late else names[int(batch.targets[-1, index])]
        rows = [f"inputs   {' '.join(words[start : start + 20])}" for start in range(0, length, 20)]
        when = "after the last step" if late else "after the last step; before it, the next input"
        return "\n".join([*rows, f"targets  {last} {when}"])
