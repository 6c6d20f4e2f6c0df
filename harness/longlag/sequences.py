"""Sequences: what a task's examples look like to a model (signature), and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class MappingKind(StrEnum):
    """How a task maps sequences."""

    CLASSIFICATION = "classification"
    """Many to one; a regression target counts."""
    LABELLING = "labelling"
    """An output at every step."""
    GENERATION = "generation"
    """One vector to a sequence."""
    TRANSLATION = "translation"
    """A sequence to a sequence of another length."""


@dataclass(frozen=True)
class Reals:
    """Real vectors of `size` features a step."""

    size: int


@dataclass(frozen=True)
class Tokens:
    """Symbols ``0 .. size - 1``, one a step; the model sees them one-hot."""

    size: int


@dataclass(frozen=True)
class Mixed:
    """Real vectors of `reals` features and one of `tokens` symbols a step, side by side."""

    reals: int
    tokens: int

    @property
    def size(self) -> int:
        return self.reals + self.tokens


@dataclass(frozen=True)
class NoInput:
    """No input sequence: generation starts from the context alone."""

    size: int = 0


Loss = Literal["mse", "cross-entropy", "bernoulli", "ctc", "mixture-density"]


@dataclass(frozen=True)
class Signature:
    """What a model for the task looks like from outside.

    The losses, each averaged over everything that counts: ``mse``, mean over the output features; ``cross-entropy``,
    nats of the right class; ``bernoulli``, nats of independent yes/no outputs, summed over them; ``ctc``, nats of the
    target sequence over all its alignments (Graves et al. 2006), class 0 being the blank; ``mixture-density``, nats
    of pen offsets under a mixture of bivariate Gaussians and of the pen's lifting (Graves 2013, sec. 4).

    Args:
        input: what a step of the input is.
        outputs: classes, or features of a target.
        mapping: where the outputs stand.
        loss: one of the above.
        context: size of the static vector that generation starts from; 0 for none.
        end: generation and translation of symbols: the class that ends an answer. Targets include it.
        max_steps: generation and translation: steps after which a free-running model is stopped.
        mixtures: components of ``mixture-density``.
    """

    input: Reals | Tokens | Mixed | NoInput
    outputs: int
    mapping: MappingKind
    loss: Loss
    context: int = 0
    end: int | None = None
    max_steps: int = 0
    mixtures: int = 0

    @property
    def per_step(self) -> bool:
        """Whether targets have a time axis, ``[U, B, ...]``."""
        return self.mapping is not MappingKind.CLASSIFICATION

    @property
    def values(self) -> int:
        """How many values a model gives for one output: logits, features, or the parameters of a mixture."""
        return 6 * self.mixtures + 1 if self.loss == "mixture-density" else self.outputs


@dataclass(frozen=True)
class Batch:
    """Sequences, time-major.

    Args:
        inputs: float32 ``[T, B, I]`` for `Reals`, int64 ``[T, B]`` for `Tokens`; the reals of `Mixed`;
            ``[0, B, 0]`` for `NoInput`.
        targets: per example (classification) ``[B, ...]``, per step (labelling) ``[T, B, ...]``, or a sequence of
            its own length (generation, translation, ``ctc``) ``[U, B, ...]``: float32 with a last axis of features
            for ``mse``, ``bernoulli`` and ``mixture-density``, int64 without one for ``cross-entropy`` and ``ctc``.
        lengths: int64 ``[B]``, the steps that exist in each sequence; None when all of them do. Steps past the
            length are padding: the model skips them and they count in no loss or metric.
        counted: bool ``[T, B]``, the outputs that count in loss and metrics (labelling); None when all existing do.
        tokens: int64 ``[T, B]``, the symbols of `Mixed`.
        context: float32 ``[B, C]``, the static vector of generation.
        target_lengths: int64 ``[B]``, the same as `lengths` for targets of their own length.
    """

    inputs: Array
    targets: Array
    lengths: Array | None = None
    counted: Array | None = None
    tokens: Array | None = None
    context: Array | None = None
    target_lengths: Array | None = None

    @property
    def steps(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def size(self) -> int:
        return int(self.inputs.shape[1])

    def exists(self) -> Array | None:
        """Bool ``[T, B]``, the input steps that exist; None when all of them do."""
        return None if self.lengths is None else np.arange(self.steps)[:, None] < self.lengths[None, :]

    def answered(self) -> Array | None:
        """Bool ``[U, B]``, the target steps that exist; None when all of them do."""
        if self.target_lengths is None:
            return None
        return np.arange(len(self.targets))[:, None] < self.target_lengths[None, :]


@dataclass(frozen=True)
class Answer:
    """What a free-running model gave (generation, translation).

    Args:
        values: int64 ``[U, B]`` symbols, or float32 ``[U, B, O]``.
        lengths: int64 ``[B]``; symbols up to the end symbol, which is not counted.
    """

    values: Array
    lengths: Array

    @classmethod
    def join(cls, answers: Sequence[Answer]) -> Answer:
        """The answers to several batches as one, padded to the longest with zeros."""
        steps = max(len(answer.values) for answer in answers)

        def padded(values: Array) -> Array:
            return np.pad(values, [(0, steps - len(values)), *[(0, 0)] * (values.ndim - 1)])

        values = np.concatenate([padded(answer.values) for answer in answers], 1)
        return cls(values, np.concatenate([answer.lengths for answer in answers]))

    def sequences(self) -> list[list[int]]:
        """The symbols of every answer."""
        return [self.values[:n, b].tolist() for b, n in enumerate(self.lengths)]
