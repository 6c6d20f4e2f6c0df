"""The Task contract: what built-in and third-party tasks implement. Knows NumPy and nothing heavier.

A task is a distribution over sequences with its mapping, loss, metrics, trivial baseline and solved criterion. It draws
batches from a NumPy generator that the harness hands it, so that data depend on their own seed alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Array = NDArray[Any]


class Options(BaseModel):
    """Base of every task's options: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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


Loss = Literal["mse", "cross-entropy"]


@dataclass(frozen=True)
class Signature:
    """What a model for the task looks like from outside.

    Args:
        input: what a step of the input is.
        outputs: numbers of the model's output (features, or classes).
        mapping: where the outputs stand.
        loss: ``mse`` (mean over the output features) or ``cross-entropy`` (nats), averaged over all counted outputs.
    """

    input: Reals | Tokens
    outputs: int
    mapping: MappingKind
    loss: Loss


@dataclass(frozen=True)
class Batch:
    """Sequences, time-major.

    Args:
        inputs: float32 ``[T, B, I]`` for `Reals`, int64 ``[T, B]`` for `Tokens`.
        targets: per example (classification) or per step (labelling): float32 ``[B, O]`` or ``[T, B, O]`` for
            ``mse``, int64 ``[B]`` or ``[T, B]`` for ``cross-entropy``.
        lengths: int64 ``[B]``, the steps that exist in each sequence; None when all of them do. Steps past the
            length are padding: the model skips them and they count in no loss or metric.
        counted: bool ``[T, B]``, the outputs that count in loss and metrics (labelling); None when all existing do.
    """

    inputs: Array
    targets: Array
    lengths: Array | None = None
    counted: Array | None = None

    @property
    def steps(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def size(self) -> int:
        return int(self.inputs.shape[1])

    def exists(self) -> Array | None:
        """Bool ``[T, B]``, the steps that exist; None when all of them do."""
        return None if self.lengths is None else np.arange(self.steps)[:, None] < self.lengths[None, :]


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


class Task(ABC):
    """A named task with options; the registry holds subclasses, not instances.

    Attributes:
        version: raise it when a change alters the data or the scores; it is part of a run's identity.
        metrics: what `measure` returns. The first one is the task's score, the one `baseline` speaks of.
        criterion: `solved` in words.
    """

    version: ClassVar[int] = 1
    Options: ClassVar[type[Options]] = Options
    metrics: ClassVar[tuple[Metric, ...]]

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options: Any = self.Options() if options is None else options

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """Dimensions or vocabulary, mapping and loss."""

    @property
    @abstractmethod
    def criterion(self) -> str:
        """When a run counts as having solved the task, in words, with numbers."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw `size` sequences. Vectorised: no loop over examples."""

    @abstractmethod
    def baseline(self) -> Baseline:
        """The trivial predictor's score."""

    @abstractmethod
    def trivial(self, batch: Batch) -> Array:
        """The outputs (or logits) of the trivial predictor, in the shape a model would give."""

    @abstractmethod
    def oracle(self, batch: Batch) -> Array:
        """Outputs (or logits) that are right, computed from the inputs alone."""

    @abstractmethod
    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        """Every metric of model outputs ``[B, O]`` or ``[T, B, O]`` against the targets."""

    @abstractmethod
    def solved(self, metrics: Mapping[str, float]) -> bool:
        """Whether these metrics, measured on the validation split, meet the criterion."""

    def score(self, metrics: Mapping[str, float]) -> float:
        """The first metric on a scale where a perfect model has 0 and the trivial predictor 1."""
        first, baseline = self.metrics[0], self.baseline().value
        return (metrics[first.name] - first.best) / (baseline - first.best)

    def describe(self, batch: Batch, index: int) -> str:
        """One example so that a person understands it; override it for anything but small numbers."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        one_target = self.signature.mapping is MappingKind.CLASSIFICATION
        targets = batch.targets[index] if one_target else batch.targets[:length, index]
        return f"inputs  {batch.inputs[:length, index].tolist()}\ntargets {np.asarray(targets).tolist()}"
