"""Callbacks that receive the events of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longlag.analysis.result import State
from longlag.spec import StudySpec
from longlag.workers.requests import WorkerCallback


class StudyCallback(WorkerCallback):
    """Receives the events of a study."""

    def study_started(self, spec: StudySpec, done: int, total: int | None) -> None:
        """Before the first trial; `done` of `total` were finished before. None: only a budget ends the study."""

    def budget(self, updates: int, hours: float) -> None:
        """After `study_started`: what the study had used up before, of its budgets."""

    def trial_started(self, number: int, point: Mapping[str, Any]) -> None:
        """A point was chosen."""

    def trial_ended(self, number: int, state: State, objective: float | None, reason: str) -> None:
        """It is finished, pruned, or failed."""

    def worker(self, index: int) -> StudyCallback:
        """What receives the events of this worker slot."""
        return self


class SlotCallbacks:
    """The callbacks of each worker slot."""

    def __init__(self, callbacks: Sequence[StudyCallback]) -> None:
        self.callbacks = callbacks
        self.slots: dict[int, list[StudyCallback]] = {}

    def __call__(self, slot: int) -> list[StudyCallback]:
        if slot not in self.slots:
            self.slots[slot] = [callback.worker(slot) for callback in self.callbacks]
        return self.slots[slot]
