"""The Task contract: what built-in and third-party tasks implement. Knows NumPy and nothing heavier.

A task is a distribution over sequences with its mapping, loss, metrics, trivial baseline and solved criterion. It draws
batches from a NumPy generator that the harness hands it, so that data depend on their own seed alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from longlag.caches import cache_folder
from longlag.errors import UserError, clipped, quoted, shortened
from longlag.files import (
    Damaged,
    read_with_checksum,
    verify,
    write_with_checksum,
    writing_with_checksum,
)
from longlag.locks import exclusive
from longlag.options import Configurable, Options, OptionsT_co
from longlag.packages import Package
from longlag.reading import opened
from longlag.sequences import (
    Answer,
    Array,
    Batch,
    Loss,
    MappingKind,
    Mixed,
    NoInput,
    Reals,
    Signature,
    Tokens,
)

__all__ = [
    "Answer",
    "Array",
    "Baseline",
    "Batch",
    "Damaged",
    "DataError",
    "Loss",
    "MappingKind",
    "Metric",
    "Mixed",
    "NoInput",
    "Options",
    "Package",
    "Reals",
    "Signature",
    "Task",
    "Tokens",
    "cache_folder",
    "clipped",
    "exclusive",
    "opened",
    "quoted",
    "read_with_checksum",
    "shortened",
    "verify",
    "write_with_checksum",
    "writing_with_checksum",
]


class DataError(UserError, ValueError):
    """Recorded data that cannot be used: one clear sentence naming file and row. Exit code 2, as for any mistake."""


@dataclass(frozen=True)
class Metric:
    """A number that evaluation gives.

    Args:
        name: as it stands in tables and, behind ``validation/`` and ``test/``, in the tracking store.
        goal: whether less or more is better.
        unit: nats, share, squared units ...
        meaning: in words.
        best: the value of a perfect model.
    """

    name: str
    goal: Literal["min", "max"]
    unit: str
    meaning: str
    best: float = 0.0


@dataclass(frozen=True)
class Baseline:
    """What the trivial predictor scores on the task's first metric, in expectation.

    Args:
        value: the score.
        predictor: the trivial predictor in words.
        formula: the closed form, or how the value was found where there is none.
    """

    value: float
    predictor: str
    formula: str


class Task(Configurable[OptionsT_co], ABC):
    """A named task with options, ``Task[ItsOptions]``; the registry holds subclasses, not instances.

    Attributes:
        version: raise it when a change alters the data or the scores; it is part of a run's identity.
        metrics: what `measure` returns; they may depend on the options. The first one is the task's score, the one
            `baseline` speaks of.
        exact: whether the targets follow from the inputs, so that the oracle is perfect; where they do not, the
            oracle is the best predictor there is.
        hindsight: whether the oracle reads the targets, because no law gives them from the inputs (recordings).

    Neither the module of a task nor its constructor imports an optional package: name it in `needs`, import it where
    it is used.
    """

    version: ClassVar[int] = 1
    metrics: tuple[Metric, ...]
    exact: ClassVar[bool] = True
    hindsight: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Package, ...]:
        """Optional packages that a run with these options imports or reads."""
        return ()

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """Dimensions or vocabulary, mapping and loss."""

    @property
    def mapping(self) -> MappingKind:
        """How the task maps sequences; known without its data."""
        return self.signature.mapping

    @property
    @abstractmethod
    def criterion(self) -> str:
        """When a run counts as having solved the task, in words, with numbers."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw `size` sequences. Vectorised: no loop over examples."""

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        """A fixed evaluation split, ``validation`` or ``test``, of at most `size` sequences.

        By default as many fresh draws. A task on recorded data overrides it: what it returns here is never in
        `sample`, and it may return fewer where there are no more.
        """
        return self.sample(rng, size)

    @abstractmethod
    def baseline(self) -> Baseline:
        """The trivial predictor's score."""

    @abstractmethod
    def trivial(self, batch: Batch) -> Array:
        """The outputs (or logits) of the trivial predictor, in the shape a model would give."""

    @abstractmethod
    def oracle(self, batch: Batch) -> Array:
        """Outputs (or logits) that are right, computed from the inputs alone."""

    def oracle_answer(self, batch: Batch) -> Answer | None:
        """Generation and translation: the right free answer, computed from the inputs alone."""
        return None

    @abstractmethod
    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        """Every metric of model outputs ``[B, O]`` or ``[T, B, O]`` against the targets."""

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        """Generation and translation: the metrics of what a free-running model answered."""
        return {}

    def right(self, outputs: Array, batch: Batch) -> Array | None:
        """The share of every sequence's answers that is right, ``[B]``; None where a task does not say.

        With it a run has its accuracy by the length of the sequences, as a result and as a picture.
        """
        return None

    def lengths(self, batch: Batch) -> Array:
        """The length of every sequence, ``[B]``, for accuracy by length: by default its steps."""
        return np.full(batch.size, batch.steps) if batch.lengths is None else batch.lengths

    @abstractmethod
    def solved(self, metrics: Mapping[str, float]) -> bool:
        """Whether these metrics, measured on the validation split, meet the criterion."""

    def score(self, metrics: Mapping[str, float]) -> float:
        """The first metric on a scale where a perfect model has 0 and the trivial predictor 1."""
        first, baseline = self.metrics[0], self.baseline().value
        return (metrics[first.name] - first.best) / (baseline - first.best)

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        """What the model did, one row an example, by column: kept with the run. By default the first metric's view."""
        rows = range(batch.size)
        columns: dict[str, list[Any]] = {"example": [self.describe(batch, b) for b in rows]}
        if answer is not None and answer.values.ndim == 2:
            columns["answer"] = [" ".join(map(str, sequence)) for sequence in answer.sequences()]
        elif outputs.ndim == 2:
            said = outputs if self.signature.loss == "mse" else outputs.argmax(-1)
            columns["output"] = [np.array2string(np.asarray(value), precision=3) for value in said]
        return columns

    @property
    def drawn(self) -> bool:
        """Whether `draw` may make a picture: axes for nothing cost every run more than most of what it logs."""
        return self._labels or type(self).draw is not Task.draw

    @property
    def _labels(self) -> bool:
        """Whether there is a target for every output."""
        return self.signature.mapping is MappingKind.LABELLING and self.signature.loss != "ctc"

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        """Draw one example with what the model made of it on matplotlib `axes`; False where there is no picture.

        By default, for labelling: the targets and the outputs over time, one above the other.
        """
        if not self._labels:
            return False
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        given, wanted = outputs[:length, index], batch.targets[:length, index]
        if wanted.ndim == 1:
            exponent = np.exp(given - given.max(-1, keepdims=True))
            given = exponent / exponent.sum(-1, keepdims=True)
            wanted = np.eye(self.signature.outputs)[wanted]
        if wanted.shape[1] == 1:
            axes.plot(wanted[:, 0], label="target")
            axes.plot(given[:, 0], label="output")
            axes.legend(loc="upper right")
        else:
            axes.imshow(np.concatenate([wanted, np.full((length, 1), np.nan), given], 1).T, aspect="auto")
            axes.set_yticks([(wanted.shape[1] - 1) / 2, wanted.shape[1] * 1.5 + 0.5], ["target", "output"])
        axes.set_xlabel("step")
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """One example so that a person understands it; override it for anything but small numbers."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        one_target = self.signature.mapping is MappingKind.CLASSIFICATION
        targets = batch.targets[index] if one_target else batch.targets[:length, index]
        return f"inputs  {batch.inputs[:length, index].tolist()}\ntargets {np.asarray(targets).tolist()}"
