"""Selective copying: a few symbols strewn among noise, to be written down in order at the end."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._recall import answer_scores, distinct, rows, words

NOISE = 0


class SelectiveCopyingOptions(AccuracyOptions):
    """Options of `SelectiveCopying`."""

    length: int = Field(32, ge=0, description="L, noise tokens; the sequence has L + 2 symbols steps (paper 4096)")
    symbols: int = Field(4, ge=1, description="M, data tokens to copy (paper 16)")
    vocabulary: int = Field(16, ge=4, description="A, tokens in all: noise, A - 2 for data, the marker (paper 16)")
    solved_accuracy: float = Field(
        0.97, gt=0, le=1, description="solved when so large a share of the copied tokens is right"
    )


class SelectiveCopying(AccuracyTask[SelectiveCopyingOptions]):
    """Remember M data tokens that stand anywhere among L noise tokens, and write them down in order.

    Inputs: L + M steps of the noise token 0, of which M steps, drawn uniformly without replacement, hold data tokens
    instead, i.i.d. uniform on ``1 ... A - 2``; then M markers ``A - 1``. Target at the i-th marker: the i-th data
    token. Only the M markers count. The spacing differs from sequence to sequence, so that what to store depends on
    what is read, not on when: a time-invariant linear recurrence cannot tell. Gu and Dao (2023), sec. 3.1 and
    appendix E.1 (sequences of 4096, A = 16, M = 16); layout of their code (`state-spaces/s4`, ``variable=True``).

    Shapes: inputs and targets int64 ``[L + 2M, B]``. The loss is the cross-entropy in nats over the markers.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the copied tokens"),
        Metric("accuracy", "max", "share", "copied tokens that have the largest output", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        vocabulary = self.options.vocabulary
        return Signature(Tokens(vocabulary), vocabulary, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        symbols, marker = self.options.symbols, self.options.vocabulary - 1
        read = self.options.length + symbols
        places = np.sort(distinct(rng, read, symbols, size), axis=0)
        data = rng.integers(1, marker, (symbols, size))
        inputs, targets = np.full((2, read + symbols, size), NOISE, dtype=np.int64)
        inputs[places, np.arange(size)] = targets[read:] = data
        inputs[read:] = marker
        counted = np.zeros(inputs.shape, dtype=bool)
        counted[read:] = True
        return Batch(inputs, targets, counted=counted)

    def baseline(self) -> Baseline:
        kinds = self.options.vocabulary - 2
        return Baseline(log(kinds), "no memory: every data token equally likely", "ln(A - 2)")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self.options.vocabulary), dtype=np.float32)
        logits[..., 1:-1] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        symbols, classes = self.options.symbols, np.full((batch.steps, batch.size), NOISE)
        places = np.argsort(batch.inputs[:-symbols] == NOISE, axis=0, kind="stable")[:symbols]
        classes[-symbols:] = np.take_along_axis(batch.inputs, places, axis=0)
        return certain(classes, self.options.vocabulary)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """Inputs, ``·`` for noise, ``|`` for a marker; below, the answer that the markers ask for."""
        inputs = words(batch.inputs[:, index], {NOISE: "·", self.options.vocabulary - 1: "|"})
        answer = words(batch.targets[-self.options.symbols :, index], {})
        return "\n".join([*rows("inputs", inputs), *rows("answer", answer)])
