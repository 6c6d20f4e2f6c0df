"""ListOps: nested lists of digits under minimum, maximum, median and sum modulo ten; what is the value?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import certain, log_likelihood
from longlag_tasks._lengths import SCALED, entropy, logits_of, scaled
from longlag_tasks._listops import CLASSES, SYMBOLS, Shape, Trees, trees, value
from longlag_tasks._recall import rows

POOL_SEED = 2018
"""Of the training sequences, which are part of the task."""


class ListOpsOptions(AccuracyOptions):
    """Options of `ListOps`."""

    length: int = Field(2000, ge=2, le=10**5, description="sequences have fewer symbols than this")
    least: int = Field(500, ge=0, description="and more than this")
    depth: int = Field(10, ge=2, le=20, description="levels of nesting, that of the digits included")
    arguments: int = Field(10, ge=2, le=100, description="of a list at most")
    pool: int = Field(10_000, ge=1, le=10**6, description="training sequences, made once (paper 96000)")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large an accuracy")

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.least + 2 > self.length:
            raise ValueError(f"length should be at least {self.least + 2}, to have more symbols than {self.least}")
        return self


class ListOps(AccuracyTask[ListOpsOptions]):
    """Read a nested list like ``[MAX 2 9 [MIN 4 7 ] 0 ]``; after the last symbol, what is its value?

    A node above the last level is an operation with chance 1/4, else a digit; an operation has 2 ... 10 arguments,
    uniform, and is the minimum, the maximum, the median (of an even number of arguments the mean of the two in the
    middle, rounded down) or the sum modulo 10. Trees are drawn until their number of symbols is between the bounds.
    Nangia and Bowman (2018); the lengths are those of Tay et al. (2021), Long Range Arena.

    Training sequences are drawn from a pool that is made once; evaluation splits are new.

    Shapes: inputs int64 ``[T, B]``, zero behind the end; targets int64 ``[B]``, 10 classes. The loss is the
    cross-entropy in nats.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the sequences"),
        Metric("accuracy", "max", "share", "sequences whose value has the largest output", best=1.0),
        SCALED,
    )

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(len(SYMBOLS)), CLASSES, MappingKind.CLASSIFICATION, "cross-entropy")

    @property
    def _shape(self) -> Shape:
        o = self.options
        return Shape(o.depth, o.arguments, o.least, o.length)

    @cached_property
    def _pool(self) -> Trees:
        return trees(np.random.default_rng(POOL_SEED), self._shape, self.options.pool)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        return self._batch(self._pool, rng.integers(0, self.options.pool, size))

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        """Trees of their own, from the split's generator."""
        return self._batch(trees(rng, self._shape, size), np.arange(size))

    def _batch(self, found: Trees, chosen: Array) -> Batch:
        lengths = found.lengths[chosen]
        step = np.arange(lengths.max())[:, None]
        inputs = found.symbols.take(found.starts[chosen] + np.minimum(step, lengths - 1))
        inputs *= step < lengths
        return Batch(inputs, found.values[chosen], lengths)

    @cached_property
    def _frequencies(self) -> Array:
        counts = np.bincount(self._pool.values, minlength=CLASSES)
        law: Array = counts / counts.sum()
        return law

    def baseline(self) -> Baseline:
        return Baseline(
            float(entropy(self._frequencies)),
            "no memory: each value as likely as it is frequent",
            "entropy of the values' frequencies among the training sequences; no closed form is known",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.broadcast_to(logits_of(self._frequencies), (batch.size, CLASSES)).copy()

    def oracle(self, batch: Batch) -> Array:
        """Sequence by sequence, as a reader does."""
        columns = zip(batch.inputs.T, self.lengths(batch), strict=True)
        return certain(np.array([value(column[:length].tolist()) for column, length in columns]), CLASSES)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        accuracy = float(np.mean(self.right(outputs, batch)))
        return {
            "cross_entropy": float(-log_likelihood(outputs, batch.targets).mean()),
            "accuracy": accuracy,
            "scaled_accuracy": scaled(accuracy, CLASSES),
        }

    def right(self, outputs: Array, batch: Batch) -> Array:
        return np.asarray(outputs.argmax(-1) == batch.targets, dtype=np.float64)

    def describe(self, batch: Batch, index: int) -> str:
        """The list and its value."""
        symbols = batch.inputs[: self.lengths(batch)[index], index]
        return "\n".join([*rows("list", [SYMBOLS[s] for s in symbols]), f"value   {batch.targets[index]}"])
