"""The objective contract, and an objective's value for one run and for the runs of a trial."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from longlag import registry
from longlag.spec import Direction

if TYPE_CHECKING:
    from longlag.training import RunResult


class Objective(ABC):
    """One number of a run that a study minimises or maximises; the registry holds subclasses, not instances.

    Attributes:
        direction: of the search.
    """

    version: ClassVar[int] = 1
    direction: ClassVar[Direction] = "minimize"

    @abstractmethod
    def measure(self, run: RunResult) -> float:
        """The value of a run that was evaluated and did not diverge. A value that is not finite counts as the worst."""

    def diverged(self, run: RunResult) -> float:
        """The value of a run that diverged or was never evaluated: the worst, unless an objective has one for it."""
        return self.worst

    @property
    def worst(self) -> float:
        return math.inf if self.direction == "minimize" else -math.inf

    def of(self, run: RunResult) -> float:
        """The value of any run."""
        failed = run.outcome == "diverged" or not run.validation
        value = float(self.diverged(run) if failed else self.measure(run))
        return value if math.isfinite(value) else self.worst


def load(name: str) -> Objective:
    """The objective registered under a name."""
    definition: type[Objective] = registry.load("objective", name)
    return definition()


def objective_value(name: str, run: RunResult) -> float:
    """One objective of one run."""
    return load(name).of(run)


def mean(name: str, runs: Sequence[RunResult]) -> float:
    """The mean over the runs of a trial, one a seed; the worst when one of them is."""
    return sum(objective_value(name, run) for run in runs) / len(runs)
