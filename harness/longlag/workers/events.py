"""What a worker tells its parent: one JSON array a line, the name of a `StudyCallback`'s method and its arguments."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, TextIO

from longlag.spec import RunSpec
from longlag.study.result import State, StudyCallback
from longlag.training import RunResult

EVERY = 0.5  # seconds between two lines about the same run


class Teller(StudyCallback):
    """Writes what happens to a stream. A parent that is gone is no reason to fail."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.last = 0.0

    def tell(self, *what: Any) -> None:
        try:
            self.stream.write(json.dumps(what) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            pass

    def trial_started(self, number: int, point: Mapping[str, Any]) -> None:
        self.tell("trial_started", number, dict(point))

    def run_started(self, spec: RunSpec) -> None:
        self.tell("run_started", spec.canonical())

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        if "train/loss" in values and time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            self.tell("measured", update, {"train/loss": values["train/loss"]})

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.tell("evaluated", update, dict(metrics), score)

    def finished(self, result: RunResult) -> None:
        self.tell("finished", result.model_dump_json())

    def trial_ended(self, number: int, state: State, objective: float | None, reason: str) -> None:
        self.tell("trial_ended", number, state, objective, reason)


def dispatch(what: list[Any], callback: StudyCallback) -> None:
    """Tell a callback what a worker told."""
    name, *arguments = what
    if name == "run_started":
        arguments = [RunSpec.model_validate_json(arguments[0])]
    elif name == "finished":
        arguments = [RunResult.model_validate_json(arguments[0])]
    getattr(callback, name)(*arguments)
