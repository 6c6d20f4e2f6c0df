"""Copy memory: ten symbols at the start, to be written down after a long lag."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from math import log
from typing import Literal

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task, Tokens

BLANK = 0
CERTAIN = 100.0
"""The logit of what is sure, beside zeros: its cross-entropy, about exp(-100), vanishes without an infinity."""


class CopyMemoryOptions(Options):
    """Options of `CopyMemory`."""

    length: int = Field(100, ge=1, description="T, the lag: the sequence has T + 2 symbols steps")
    layout: Literal["arjovsky", "bai", "lezcano"] = Field(
        "arjovsky",
        description="arjovsky: T-1 blanks, delimiter, blanks (Arjovsky et al. 2016); bai: the delimiter stays to "
        "the end, and the raw digit is one real channel (Bai et al. 2018); lezcano: T blanks, and the answer "
        "begins on the delimiter itself (Lezcano-Casado and Martínez-Rubio 2019)",
    )
    symbols: int = Field(10, ge=1, description="S, symbols to copy")
    alphabet: int = Field(8, ge=2, description="A, different symbols")
    solved_fraction: float = Field(
        0.1, gt=0, lt=1, description="solved when the cross-entropy is below this share of the baseline"
    )


class CopyMemory(Task[CopyMemoryOptions]):
    """Remember S symbols of an alphabet of A for T steps and write them down in order.

    The symbols are i.i.d. uniform on ``1 ... A``; a blank is 0, the delimiter ``D = A + 1``. Inputs and targets,
    each of T + 2S steps (published: S = 10, A = 8):

    ========  ====================================  =======================  ==========================
    layout    inputs                                as                       outputs
    ========  ====================================  =======================  ==========================
    arjovsky  S symbols, T-1 blanks, D, S blanks    A + 2 tokens             A + 1 classes (no D)
    bai       S symbols, T-1 blanks, S+1 times D    one real, the digit      A + 2 classes (D never is)
    lezcano   S symbols, T blanks, D, S-1 blanks    A + 2 tokens             A + 1 classes (no D)
    ========  ====================================  =======================  ==========================

    Targets of every layout: T + S blanks, then the S symbols, so that each is due T + S steps after it was seen:
    ``y_{t+T+S} = x_t`` for t < S. In arjovsky and bai the answer begins one step after the (first) delimiter, in
    lezcano on it. Arjovsky, Shah and Bengio (2016); Bai, Kolter and Koltun (2018); Lezcano-Casado and
    Martínez-Rubio (2019).

    Shapes: inputs int64 ``[T + 2S, B]`` or, bai, float32 ``[T + 2S, B, 1]``; targets int64 ``[T + 2S, B]``. The
    loss is the cross-entropy in nats, averaged over *all* steps, most of which are blanks.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over all steps, blanks included"),
        Metric("accuracy", "max", "share", "copied symbols that have the largest output", best=1.0),
    )

    @property
    def steps(self) -> int:
        """Steps of every sequence, T + 2S."""
        return int(self.options.length + 2 * self.options.symbols)

    @property
    def signature(self) -> Signature:
        vocabulary = self.options.alphabet + 2
        if self.options.layout == "bai":
            return Signature(Reals(1), vocabulary, MappingKind.LABELLING, "cross-entropy")
        return Signature(Tokens(vocabulary), vocabulary - 1, MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        share, limit = self.options.solved_fraction, self._limit()
        return f"cross_entropy below {limit:.4g} nats ({share:g} of the baseline)"

    def _limit(self) -> float:
        return float(self.options.solved_fraction * self.baseline().value)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["cross_entropy"] < self._limit())

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lag, symbols, layout = self.options.length, self.options.symbols, self.options.layout
        delimiter = self.options.alphabet + 1
        data = rng.integers(1, delimiter, (symbols, size))
        inputs, targets = np.full((2, self.steps, size), BLANK, dtype=np.int64)
        inputs[:symbols] = targets[-symbols:] = data
        if layout == "bai":
            inputs[symbols + lag - 1 :] = delimiter
            return Batch(inputs[..., None].astype(np.float32), targets)
        inputs[symbols + lag - (layout == "arjovsky")] = delimiter
        return Batch(inputs, targets)

    def baseline(self) -> Baseline:
        symbols, alphabet = self.options.symbols, self.options.alphabet
        return Baseline(
            symbols * log(alphabet) / self.steps,
            "no memory: blank for T + S steps, then every symbol equally likely",
            "S ln A / (T + 2S)",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self.signature.outputs), dtype=np.float32)
        answer = batch.steps - self.options.symbols
        logits[:answer, :, BLANK] = CERTAIN
        logits[answer:, :, 1 : self.options.alphabet + 1] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        symbols = self.options.symbols
        seen = batch.inputs[..., 0] if self.options.layout == "bai" else batch.inputs
        classes = np.full((batch.steps, batch.size), BLANK)
        classes[-symbols:] = np.rint(seen[:symbols])
        logits = np.zeros((batch.steps, batch.size, self.signature.outputs), dtype=np.float32)
        np.put_along_axis(logits, classes[..., None], CERTAIN, axis=-1)
        return logits

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        symbols = self.options.symbols
        largest = outputs.max(-1)
        normaliser = np.log(np.exp(outputs - largest[..., None], dtype=np.float64).sum(-1))
        chosen = np.take_along_axis(outputs, batch.targets[..., None], axis=-1)[..., 0]
        guesses = outputs[-symbols:].argmax(-1)
        return {
            "cross_entropy": float(np.mean(normaliser + largest - chosen)),
            "accuracy": float(np.mean(guesses == batch.targets[-symbols:])),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """Inputs and targets, ``·`` for a blank, ``|`` for the delimiter, long runs as ``·×99``."""
        inputs = batch.inputs[:, index, 0] if self.options.layout == "bai" else batch.inputs[:, index]
        return f"inputs   {self._line(inputs)}\ntargets  {self._line(batch.targets[:, index])}"

    def _line(self, symbols: Array) -> str:
        names = {BLANK: "·", self.options.alphabet + 1: "|"}
        words = []
        for symbol, run in groupby(int(symbol) for symbol in symbols):
            word, count = names.get(symbol, str(symbol)), len(list(run))
            shorten = symbol in names and count > 3
            words.extend([f"{word}×{count}"] if shorten else [word] * count)
        return " ".join(words)
