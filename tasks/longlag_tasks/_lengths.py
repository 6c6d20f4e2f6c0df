"""What tasks share whose sequences may have any length: options, drawn lengths, and one answer after the last step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import TypeVar

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain, log_likelihood
from longlag_tasks._recall import rows


class LengthOptions(AccuracyOptions):
    """Options of tasks whose sequences may have any length."""

    length: int = Field(40, ge=1, le=10**6, description="L, the most steps of a sequence")
    least: int | None = Field(
        None, ge=1, description="the fewest: lengths are uniform from here to L, one a sequence; none: all have L"
    )
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large an accuracy")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least is not None and self.least > self.length:
            raise ValueError(f"least should be at most the length, {self.length}, not {self.least}")
        return self

    @property
    def lengths(self) -> range:
        """The lengths that there are, each as likely as every other."""
        return range(self.length if self.least is None else self.least, self.length + 1)


def drawn_lengths(rng: np.random.Generator, options: LengthOptions, size: int) -> Array:
    """Lengths of `size` sequences, int64 ``[B]``; nothing is drawn where there is one only."""
    lengths = options.lengths
    if len(lengths) == 1:
        return np.full(size, options.length)
    return rng.integers(lengths.start, lengths.stop, size)


def ragged(inputs: Array, targets: Array, lengths: Array, counted: Array | None = None) -> Batch:
    """A batch whose sequences end at their lengths; one without lengths where all of them are equal."""
    return Batch(inputs, targets, None if (lengths == len(inputs)).all() else lengths, counted)


def scaled(accuracy: float, classes: int) -> float:
    """Accuracy on a scale where chance, one of so many classes, has 0 and a perfect model 1."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def entropy(law: Array) -> Array:
    """Nats of chances along the last axis."""
    found: Array = -(law * np.log(np.where(law > 0, law, 1))).sum(-1)
    return found


def logits_of(law: Array) -> Array:
    """Logits, float32, that give these chances along the last axis; what is impossible has -100."""
    found: Array = np.where(law > 0, np.log(np.where(law > 0, law, 1)), -CERTAIN).astype(np.float32)
    return found


CROSS_ENTROPY = Metric("cross_entropy", "min", "nats", "mean over the answers")
SCALED = Metric(
    "scaled_accuracy", "max", "share", "accuracy on a scale where chance, 1 / classes, has 0 and a perfect model 1", 1.0
)

LengthOptionsT_co = TypeVar("LengthOptionsT_co", bound=LengthOptions, default=LengthOptions, covariant=True)


class OneAnswer(AccuracyTask[LengthOptionsT_co]):
    """A sequence of symbols and one answer after its last step.

    Shapes: inputs int64 ``[T, B]``, zero behind the end of a sequence; targets int64 ``[B]``. The loss is the
    cross-entropy in nats. A subclass says what is drawn (`make`), how likely each answer is at a length (`law`), and
    computes the right answer a second way (`solve`).

    Attributes:
        names: the symbols as a person reads them, by their number.
    """

    metrics = (
        CROSS_ENTROPY,
        Metric("accuracy", "max", "share", "sequences whose answer has the largest output", best=1.0),
        SCALED,
    )
    names: ClassVar[str] = "0123456789"

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Symbols of the input, and classes of the answer."""

    @abstractmethod
    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        """Inputs ``[longest, B]``, anything behind the ends, and answers ``[B]``, of sequences of these lengths."""

    @abstractmethod
    def law(self, length: int) -> Array:
        """The chances of each answer at a length."""

    @abstractmethod
    def solve(self, inputs: Array, lengths: Array) -> Array:
        """The answers ``[B]`` from inputs ``[T, B]``, zero behind the ends."""

    @property
    def signature(self) -> Signature:
        symbols, classes = self.sizes
        return Signature(Tokens(symbols), classes, MappingKind.CLASSIFICATION, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lengths = self.shape(drawn_lengths(rng, self.options, size))
        inputs, targets = self.make(rng, lengths)
        exists = np.arange(len(inputs))[:, None] < lengths
        if np.count_nonzero(exists) == exists.size:
            return Batch(inputs, targets)
        inputs *= exists
        return Batch(inputs, targets, lengths)

    def shape(self, lengths: Array) -> Array:
        """The lengths that sequences have when these are asked for."""
        return lengths

    @cached_property
    def _answers(self) -> Array:
        """How often each answer is right, over all lengths."""
        law: Array = np.mean([self.law(length) for length in self.options.lengths], axis=0)
        return law

    def baseline(self) -> Baseline:
        return Baseline(
            float(entropy(self._answers)),
            "no memory: each answer as likely as it is frequent",
            "entropy of the answers' frequencies, exactly, mean over the lengths",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.broadcast_to(logits_of(self._answers), (batch.size, self.sizes[1])).copy()

    def oracle(self, batch: Batch) -> Array:
        return certain(self.solve(batch.inputs, self.lengths(batch)), self.sizes[1])

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        accuracy = float(np.mean(self.right(outputs, batch)))
        return {
            "cross_entropy": float(-log_likelihood(outputs, batch.targets).mean()),
            "accuracy": accuracy,
            "scaled_accuracy": scaled(accuracy, self.sizes[1]),
        }

    def right(self, outputs: Array, batch: Batch) -> Array:
        return np.asarray(outputs.argmax(-1) == batch.targets, dtype=np.float64)

    def describe(self, batch: Batch, index: int) -> str:
        """The symbols of one sequence, and the answer."""
        symbols = batch.inputs[: self.lengths(batch)[index], index]
        shown = [self.names[symbol] for symbol in symbols]
        return "\n".join([*rows("inputs", shown), f"answer  {batch.targets[index]}"])


def last_of(inputs: Array, lengths: Array) -> Array:
    """The last symbol of every sequence, ``[B]``."""
    found: Array = inputs[lengths - 1, np.arange(inputs.shape[1])]
    return found


def labelled(outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Log-likelihoods, and whether the largest output is right, of every step ``[T, B]``; what counts, ``[T, B]``."""
    return log_likelihood(outputs, batch.targets), outputs.argmax(-1) == batch.targets
