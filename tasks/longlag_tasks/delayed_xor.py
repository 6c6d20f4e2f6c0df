"""Delayed XOR: at every step, the exclusive or of bits that came one delay, two delays and so on ago."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import certain
from longlag_tasks._recall import answer_scores, rows


class DelayedXorOptions(AccuracyOptions):
    """Options of `DelayedXor`."""

    length: int = Field(300, ge=2, le=10**6, description="T, steps")
    delay: int = Field(10, ge=1, description="d, steps from one of the bits to the next, and from the last to now")
    bits: int = Field(2, ge=1, le=64, description="how many bits; 1 copies the bit of d steps ago")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large an accuracy")

    @model_validator(mode="after")
    def _reaches(self) -> Self:
        if self.bits * self.delay >= self.length:
            raise ValueError(f"length should be above {self.bits * self.delay}, the oldest bit's age")
        return self


class DelayedXor(AccuracyTask[DelayedXorOptions]):
    """At every step, the exclusive or of the bits of d and of 2 d steps ago.

    Bits x_t are uniform and independent; the target is ``x_{t-d} xor x_{t-2d} xor ...``, over as many bits as asked
    for, and counts from the first step that has them all. All of the last ``d bits`` bits have to be kept at once.
    Engelken (2023), *Gradient flossing*, with T = 300, whose tasks have 1, 2, 4 ... bits.

    Shapes: inputs and targets int64 ``[T, B]``, 2 classes. The loss is the cross-entropy in nats over what counts.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the steps that count"),
        Metric("accuracy", "max", "share", "of those steps that are right", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(2), 2, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        length, delay, bits = self.options.length, self.options.delay, self.options.bits
        inputs = rng.integers(0, 2, (length, size))
        targets, first = np.zeros_like(inputs), bits * delay
        for number in range(1, bits + 1):
            targets[first:] ^= inputs[first - number * delay : length - number * delay]
        counted = np.zeros(inputs.shape, dtype=bool)
        counted[first:] = True
        return Batch(inputs, targets, counted=counted)

    def baseline(self) -> Baseline:
        return Baseline(log(2), "no memory: both answers equally likely", "ln 2")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.steps, batch.size, 2), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        """With a queue of what was read."""
        read: list[Array] = []
        classes = np.zeros(batch.inputs.shape, dtype=np.int64)
        for step, bit in enumerate(batch.inputs):
            read.append(bit)
            past = read[-1 - self.options.delay :: -self.options.delay][: self.options.bits]
            classes[step] = sum(past) % 2 if past else 0
        return certain(classes, 2)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """The bits, and below each what is to be said there."""
        first = self.options.bits * self.options.delay
        read = batch.inputs[:, index].astype(str).tolist()
        said = ["·"] * first + batch.targets[first:, index].astype(str).tolist()
        return "\n".join([*rows("reads", read), *rows("says", said)])
