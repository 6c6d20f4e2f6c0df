"""Tasks that are solved when a share of right answers is large enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import TypeVar

from longlag.task import Options, Task


class AccuracyOptions(Options):
    """Options of a task with a threshold. Each declares the field itself: default, description, place."""

    if TYPE_CHECKING:
        solved_accuracy: float


AccuracyOptionsT_co = TypeVar("AccuracyOptionsT_co", bound=AccuracyOptions, default=AccuracyOptions, covariant=True)


class AccuracyTask(Task[AccuracyOptionsT_co]):
    """Base of tasks that are solved when a metric is at least the option `solved_accuracy`.

    Attributes:
        solved_by: the name of that metric.
    """

    solved_by: ClassVar[str] = "accuracy"

    @property
    def criterion(self) -> str:
        return f"{self.solved_by} of at least {self.options.solved_accuracy:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics[self.solved_by] >= self.options.solved_accuracy)
