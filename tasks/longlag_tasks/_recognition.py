"""Tasks that ask after the last step which of some classes a recorded sequence belongs to."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from typing_extensions import TypeVar

from longlag.task import Array, Batch, MappingKind, Reals, Signature
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import certain, log_likelihood
from longlag_tasks._local import LocalOptions


class RecognitionOptions(AccuracyOptions, LocalOptions):
    """What every such task can be asked for."""


RecognitionOptionsT_co = TypeVar(
    "RecognitionOptionsT_co", bound=RecognitionOptions, default=RecognitionOptions, covariant=True
)


class RecognitionTask(AccuracyTask[RecognitionOptionsT_co]):
    """Real inputs; one class a sequence. A task's metrics are its `cross_entropy` and `accuracy`, in its own words."""

    hindsight = True

    @property
    @abstractmethod
    def features(self) -> int:
        """Real numbers of a step."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many there are."""

    @property
    def mapping(self) -> MappingKind:
        return MappingKind.CLASSIFICATION

    @property
    def signature(self) -> Signature:
        return Signature(Reals(self.features), self.classes, self.mapping, "cross-entropy")

    def oracle(self, batch: Batch) -> Array:
        """From the targets: no law tells the class of a recording."""
        return certain(batch.targets, self.classes)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return {
            "cross_entropy": float(-np.mean(log_likelihood(outputs, batch.targets))),
            "accuracy": float(np.mean(outputs.argmax(-1) == batch.targets)),
        }
