"""The messages between supervisor and worker processes: one JSON array a line, a name and its arguments.

To a worker: its `WorkerConfig`, then ``run`` with a `RunRequest`, and ``answer`` with why to prune the run, or null.
The end of the input stops the worker, once its run is saved. From a worker: ``ready``, the names and arguments of
callback methods, ``score``, and at the end of a request ``done``, ``failed``, ``interrupted`` or ``mistake``;
``loading`` with the path of a kernel library, before it is loaded, is for the process that holds the worker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from longlag.spec import RunSpec
from longlag.training import RunCallback, RunResult
from longlag.workers.requests import Execution, Failure, WorkerCallback

Message = Sequence[Any]
EVERY = 0.5  # seconds between two messages about the training loss


class Sender(WorkerCallback):
    """Writes messages to a stream. Failing to is no error: a worker whose supervisor is gone ends by itself."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.last = 0.0

    def send(self, *message: Any) -> None:
        try:
            self.stream.write(json.dumps(message) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            pass

    def outcome(self, outcome: Execution | Failure) -> None:
        if isinstance(outcome, Failure):
            self.send("failed", outcome.reason)
        else:
            result = outcome.result.model_dump_json()
            self.send("done", result, outcome.run_id, outcome.experiment, outcome.trained)

    def run_started(self, spec: RunSpec) -> None:
        self.send("run_started", spec.canonical())

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        if "train/loss" in values and time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            self.send("measured", update, {"train/loss": values["train/loss"]})

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.send("evaluated", update, dict(metrics), score)

    def finished(self, result: RunResult) -> None:
        self.send("finished", result.model_dump_json())


def outcome(message: Message) -> Execution | Failure:
    """What a ``done`` or ``failed`` message says."""
    kind, *rest = message
    if kind == "failed":
        return Failure(rest[0])
    result, run_id, experiment, trained = rest
    return Execution(RunResult.model_validate_json(result), run_id, experiment, trained)


def dispatch(message: Message, callback: RunCallback) -> None:
    """Call the callback method that a message names."""
    name, *arguments = message
    if name == "run_started":
        arguments = [RunSpec.model_validate_json(arguments[0])]
    elif name == "finished":
        arguments = [RunResult.model_validate_json(arguments[0])]
    getattr(callback, name)(*arguments)
