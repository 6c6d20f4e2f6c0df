"""Noiseless memory: a pattern of a few symbols, to be written down after a long blank."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from math import log
from typing import Literal

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import CERTAIN, certain, log_likelihood

PATTERNS = {"5-bit": (2, 5), "20-bit": (5, 10)}
"""Values and places of a pattern: 2^5 patterns are 5 bits, 5^10 are 23.2."""


class NoiselessMemoryOptions(Options):
    """Options of `NoiselessMemory`."""

    length: int = Field(50, ge=1, description="T, blank steps between the pattern and the trigger")
    variant: Literal["5-bit", "20-bit"] = Field(
        "5-bit", description="5-bit: 5 symbols of 2 values; 20-bit: 10 symbols of 5 values"
    )
    solved_share: float = Field(0.99, gt=0, le=1, description="solved when at least this share has no error")


class NoiselessMemory(Task[NoiselessMemoryOptions]):
    """Remember ``n`` i.i.d. uniform symbols of ``v`` values over T blank steps and write them down in order.

    Inputs, ``T + 2n`` steps: n symbols, T blanks, the trigger, n - 1 blanks. Targets: ``T + n`` blanks, then the
    symbols: ``y_{t+T+n} = x_t`` for t < n, the first of them on the trigger itself. Tokens: values 0 ... v-1, the
    blank v, the trigger v + 1, which is never an output. ``5-bit``: n = 5, v = 2; ``20-bit``: n = 10, v = 5.
    Pascanu, Mikolov and Bengio (2013), after Martens and Sutskever (2011).

    Shapes: inputs and targets int64 ``[T + 2n, B]``; the loss is the cross-entropy in nats over *all* steps.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over all steps, blanks included"),
        Metric("perfect", "max", "share", "sequences without a wrong output at any step", best=1.0),
        Metric("accuracy", "max", "share", "pattern symbols that have the largest output", best=1.0),
    )

    @property
    def _values(self) -> int:
        return PATTERNS[self.options.variant][0]

    @property
    def _places(self) -> int:
        return PATTERNS[self.options.variant][1]

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(self._values + 2), self._values + 1, MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        return f"perfect (no wrong output at any step) of at least {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["perfect"] >= self.options.solved_share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        values, places, lag = self._values, self._places, self.options.length
        inputs, targets = np.full((2, lag + 2 * places, size), values, dtype=np.int64)
        inputs[:places] = targets[-places:] = rng.integers(0, values, (size, places)).T
        inputs[places + lag] = values + 1
        return Batch(inputs, targets)

    def baseline(self) -> Baseline:
        values, places = self._values, self._places
        return Baseline(
            places * log(values) / (self.options.length + 2 * places),
            "no memory: blank for T + n steps, then every value equally likely",
            "n ln v / (T + 2n)",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self._values + 1), dtype=np.float32)
        logits[: -self._places, :, -1] = CERTAIN
        logits[-self._places :, :, :-1] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        classes = np.full((batch.steps, batch.size), self._values)
        classes[-self._places :] = batch.inputs[: self._places]
        return certain(classes, self._values + 1)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        right = outputs.argmax(-1) == batch.targets
        return {
            "cross_entropy": float(-log_likelihood(outputs, batch.targets).mean()),
            "perfect": float(right.all(0).mean()),
            "accuracy": float(right[-self._places :].mean()),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """Inputs and targets, ``·`` for a blank, ``|`` for the trigger, long runs as ``·×50``."""
        return f"inputs   {self._line(batch.inputs[:, index])}\ntargets  {self._line(batch.targets[:, index])}"

    def _line(self, symbols: Array) -> str:
        names = {self._values: "·", self._values + 1: "|"}
        words = []
        for symbol, run in groupby(int(symbol) for symbol in symbols):
            word, count = names.get(symbol, str(symbol)), len(list(run))
            shorten = symbol in names and count > 3
            words.extend([f"{word}×{count}"] if shorten else [word] * count)
        return " ".join(words)
