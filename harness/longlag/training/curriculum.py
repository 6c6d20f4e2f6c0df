"""Which task the next training batch is drawn from: the run's own, or one with other options for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from longlag.spec import LengthsSpec, RunSpec
from longlag.task import Task
from longlag.training.data import Split, validation_of


class Curriculum:
    """The run's own task at every update: no curriculum.

    Args:
        spec: the run.
        own: its task.
        cache: folder for the Arrow files of evaluation splits.
    """

    def __init__(self, spec: RunSpec, own: Task, cache: Path | None) -> None:
        self.spec, self.own, self.cache = spec, own, cache

    def task(self, progress: float, rng: np.random.Generator) -> Task:
        """The task of the next batch.

        Args:
            progress: share of the budget that is used up.
            rng: of the training data; what a curriculum draws at random comes from it.
        """
        return self.own

    def evaluated(self, measure: Callable[[Task, Split], Mapping[str, float]]) -> dict[str, float]:
        """Called at every evaluation, with what measures a task on a split; returns what is to be logged."""
        return {}

    @property
    def state(self) -> int:
        """What a checkpoint keeps."""
        return 0

    @state.setter
    def state(self, value: int) -> None:
        pass


class Stages(Curriculum):
    """One task after the other, by the share of the budget."""

    def __init__(self, spec: RunSpec, own: Task, cache: Path | None) -> None:
        super().__init__(spec, own, cache)
        self.stages = [(stage.until, spec.task_with(stage.task).build()) for stage in spec.data.stages]

    def task(self, progress: float, rng: np.random.Generator) -> Task:
        return next((task for until, task in self.stages if progress < until), self.own)


class Lengths(Curriculum):
    """One option of the task varies, its length as a rule: the values in rising order."""

    def __init__(self, spec: RunSpec, own: Task, cache: Path | None, options: list[dict[str, int]]) -> None:
        super().__init__(spec, own, cache)
        self.options, self.built = options, {len(options) - 1: own}

    def at(self, index: int) -> Task:
        """The task at one of the values; what a task prepares, it prepares once."""
        if index not in self.built:
            self.built[index] = self.spec.task_with(self.options[index]).build()
        return self.built[index]


class Uniform(Lengths):
    """One value for each batch, drawn uniformly."""

    def task(self, progress: float, rng: np.random.Generator) -> Task:
        return self.at(int(rng.integers(len(self.options))))


class Growing(Lengths):
    """The least value first, and the next one when an evaluation finds the task solved at the present one."""

    level = 0

    def task(self, progress: float, rng: np.random.Generator) -> Task:
        return self.at(self.level)

    def evaluated(self, measure: Callable[[Task, Split], Mapping[str, float]]) -> dict[str, float]:
        (name, value), *_ = self.options[self.level].items()
        if self.level < len(self.options) - 1:
            split = validation_of(self.spec, self.spec.task_with(self.options[self.level]), self.cache)
            self.level += self.at(self.level).solved(measure(self.at(self.level), split))
        return {f"train/{name}": float(value)}

    @property
    def state(self) -> int:
        return self.level

    @state.setter
    def state(self, value: int) -> None:
        self.level = value


def build(spec: RunSpec, own: Task, cache: Path | None) -> Curriculum:
    """The curriculum that ``data.curriculum`` describes."""
    options = spec.lengths
    if options is None:
        return (Stages if spec.data.stages else Curriculum)(spec, own, cache)
    assert isinstance(spec.data.curriculum, LengthsSpec)
    return (Uniform if spec.data.curriculum.name == "uniform" else Growing)(spec, own, cache, options)
