"""Variable copy: ten symbols at the start, to be written down after a lag that is drawn for every sequence."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import CERTAIN, certain, log_likelihood
from longlag_tasks._recall import rows, words

BLANK = 0


class VariableCopyOptions(Options):
    """Options of `VariableCopy`."""

    length: int = Field(100, ge=1, description="T, the most blanks between the symbols and the delimiter")
    symbols: int = Field(10, ge=1, description="S, symbols to copy")
    alphabet: int = Field(8, ge=2, description="A, different symbols")
    solved_fraction: float = Field(
        0.1, gt=0, lt=1, description="solved when the cross-entropy is below this share of the baseline"
    )


class VariableCopy(Task[VariableCopyOptions]):
    """Remember S symbols of an alphabet of A until a delimiter comes, and then write them down in order.

    Inputs: S symbols, i.i.d. uniform on ``1 ... A``; G blanks (0), G uniform on ``1 ... T`` for every sequence; the
    delimiter ``D = A + 1``; S blanks. Targets: ``G + S + 1`` blanks, then the S symbols, so that the answer begins
    one step after the delimiter and each symbol is due ``G + S + 1`` steps after it was seen. A sequence has
    ``G + 2S + 1`` steps (published: S = 10, A = 8; T = 500 and 1000); nothing but the delimiter tells when to
    begin. Tallec and Ollivier (2018), after Henaff, Szlam and LeCun (2016).

    Shapes: inputs and targets int64 ``[T + 2S + 1, B]``, shorter sequences padded with blanks that do not exist. The
    loss is the cross-entropy in nats, averaged over *all* existing steps, most of which are blanks.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over all existing steps, blanks included"),
        Metric("accuracy", "max", "share", "copied symbols that have the largest output", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        alphabet = self.options.alphabet
        return Signature(Tokens(alphabet + 2), alphabet + 1, MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        return f"cross_entropy below {self._limit():.4g} nats ({self.options.solved_fraction:g} of the baseline)"

    def _limit(self) -> float:
        return float(self.options.solved_fraction * self.baseline().value)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["cross_entropy"] < self._limit())

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        symbols, delimiter = self.options.symbols, self.options.alphabet + 1
        steps, columns = self.options.length + 2 * symbols + 1, np.arange(size)
        data = rng.integers(1, delimiter, (symbols, size))
        gaps = rng.integers(1, self.options.length + 1, size)
        inputs, targets = np.full((2, steps, size), BLANK, dtype=np.int64)
        inputs[:symbols] = data
        inputs[symbols + gaps, columns] = delimiter
        targets[symbols + gaps + 1 + np.arange(symbols)[:, None], columns] = data
        return Batch(inputs, targets, gaps + 2 * symbols + 1)

    def _answers(self, batch: Batch) -> Array:
        """Bool ``[T, B]``, the steps of the answer: the last S that exist."""
        assert batch.lengths is not None
        back = batch.lengths - np.arange(batch.steps)[:, None]
        due: Array = (back >= 1) & (back <= self.options.symbols)
        return due

    def baseline(self) -> Baseline:
        length, symbols, alphabet = self.options.length, self.options.symbols, self.options.alphabet
        return Baseline(
            symbols * log(alphabet) / (2 * symbols + 1 + (length + 1) / 2),
            "no memory: blank up to the delimiter, then every symbol equally likely for S steps",
            "S ln A / (2S + 1 + (T+1)/2), the mean cost of a sequence by its mean length",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = certain(np.full((batch.steps, batch.size), BLANK), self.signature.outputs)
        logits[self._answers(batch)] = [0.0] + [CERTAIN] * self.options.alphabet
        return logits

    def oracle(self, batch: Batch) -> Array:
        symbols, columns = self.options.symbols, np.arange(batch.size)
        delimiters = (batch.inputs == self.options.alphabet + 1).argmax(0)
        classes = np.full((batch.steps, batch.size), BLANK)
        classes[delimiters + 1 + np.arange(symbols)[:, None], columns] = batch.inputs[:symbols]
        return certain(classes, self.signature.outputs)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        exists, due = batch.exists(), self._answers(batch)
        return {
            "cross_entropy": float(-np.mean(log_likelihood(outputs, batch.targets)[exists])),
            "accuracy": float(np.mean(outputs[due].argmax(-1) == batch.targets[due])),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """Inputs and targets, ``·`` for a blank, ``|`` for the delimiter, long runs as ``·×99``."""
        assert batch.lengths is not None
        names, length = {BLANK: "·", self.options.alphabet + 1: "|"}, int(batch.lengths[index])
        inputs, targets = batch.inputs[:length, index], batch.targets[:length, index]
        return "\n".join([*rows("inputs", words(inputs, names)), *rows("targets", words(targets, names))])
