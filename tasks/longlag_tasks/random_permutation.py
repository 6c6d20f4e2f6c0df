"""Random permutation: the first of a long row of symbols is also its last."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain, log_likelihood

KEYS = 2
"""The symbols 0 and 1 stand first and last, and nowhere else."""


class RandomPermutationOptions(AccuracyOptions):
    """Options of `RandomPermutation`."""

    length: int = Field(100, ge=1, description="T, steps; the first symbol is to be said after the last step")
    symbols: int = Field(100, ge=3, description="different symbols, the two that count among them")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved when at least this share is right")


class RandomPermutation(AccuracyTask[RandomPermutationOptions]):
    """Say the first symbol after T steps: ``y = x_0``.

    ``x_0`` is 0 or 1 with probability 1/2 each, ``x_1 ... x_{T-1}`` are i.i.d. uniform on ``2 ... symbols - 1``
    (published: 100 symbols). The sequence's end, ``x_T = x_0``, is not shown but asked for, among all symbols. It is
    not permuted: the name is historical. Pascanu, Mikolov and Bengio (2013), after Hochreiter and Schmidhuber (1997,
    experiment 2b) and Martens and Sutskever (2011).

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[B]``; the loss is the cross-entropy in nats.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the sequences"),
        Metric("accuracy", "max", "share", "sequences whose last symbol has the largest output", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        symbols = self.options.symbols
        return Signature(Tokens(symbols), symbols, MappingKind.CLASSIFICATION, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        inputs = rng.integers(KEYS, self.options.symbols, (self.options.length, size))
        inputs[0] = rng.integers(0, KEYS, size)
        return Batch(inputs, inputs[0].copy())

    def baseline(self) -> Baseline:
        return Baseline(log(KEYS), "no memory: 0 or 1, equally likely", "ln 2")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.size, self.options.symbols), dtype=np.float32)
        logits[:, :KEYS] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        return certain(batch.inputs[0], self.options.symbols)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return {
            "cross_entropy": float(-log_likelihood(outputs, batch.targets).mean()),
            "accuracy": float(np.mean(outputs.argmax(-1) == batch.targets)),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """The symbols in rows of twenty, and the last one."""
        words = [f"{int(symbol):>3}" for symbol in batch.inputs[:, index]]
        rows = [f"inputs {' '.join(words[start : start + 20])}" for start in range(0, len(words), 20)]
        return "\n".join([*rows, f"target {int(batch.targets[index]):>3}"])
