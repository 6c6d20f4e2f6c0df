"""Run requests, their outcomes, and the search that hands out requests and receives outcomes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from longlag.spec import RunSpec
from longlag.training import RunCallback, RunResult
from longlag.training.checkpoint import SECONDS


class WorkerConfig(BaseModel):
    """Where workers record their runs, and how they train them. A worker process reads it first.

    Attributes:
        home: folder of the results.
        tracking_uri: the MLflow store; None for the home's own.
        experiment: id of the tracking experiment.
        parent: run that all runs belong to, such as the study's own; None for none.
        name: of the study; its workers' logs are named after it.
        threads: threads of torch in each worker.
        checkpoint_seconds: seconds between two checkpoints of a run; None writes none.
        host: the machine that files in the home can be reached from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    tracking_uri: str | None = Field(repr=False)  # Dask logs what it was given when a task fails
    experiment: str
    parent: str | None
    name: str
    threads: int = 1
    checkpoint_seconds: float | None = SECONDS
    host: str = Field(default_factory=socket.gethostname)


class RunRequest(BaseModel):
    """A run, and how it is recorded.

    Attributes:
        spec: the run.
        name: in the tracking UI; None makes one.
        tags: what it is found by there.
        answered: the run waits after every evaluation for whether to prune it.
        force: train even if the same run has finished before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: RunSpec
    name: str | None = None
    tags: Mapping[str, str] = Field(default_factory=dict)
    answered: bool = False
    force: bool = False


@dataclass(frozen=True)
class Execution:
    """A result and where it is recorded.

    Args:
        result: of the run.
        run_id: in the tracking store; None while the run waits for a server that has not taken it.
        experiment: its experiment there.
        trained: false when the run had finished before and was only found.
    """

    result: RunResult
    run_id: str | None
    experiment: str
    trained: bool


@dataclass(frozen=True)
class Failure:
    """A run that raised an exception, or whose workers died.

    Args:
        reason: in a sentence, with the file that holds the traceback.
        error: the exception, where it was raised in this process.
    """

    reason: str
    error: Exception | None = None


class Interrupted(KeyboardInterrupt):
    """A run was stopped by hand, and saved."""


class WorkerCallback(RunCallback):
    """Receives the events of one worker slot; between `run_started` and `finished` those of the run as well.

    A worker in another process reports less: no `started`, curves, predictions or weights.
    """

    def run_started(self, spec: RunSpec) -> None:
        """A run begins to train; not called for a run that had finished before."""

    def worker_died(self, index: int, how: str) -> None:
        """A worker process ended; another one takes its place and continues its run."""


class Search(Protocol):
    """Hands out run requests and receives their outcomes. It has no part in executing them.

    A worker slot has at most one request at a time. All methods are called from one thread.
    """

    def ask(self, slot: int) -> RunRequest | None:
        """The next run, for this worker slot; None when there is none at present."""

    def evaluated(self, slot: int, update: int, score: float, earlier: bool) -> str | None:
        """An evaluation of the slot's run; returns why to prune it, or None.

        Args:
            slot: the worker slot.
            update: updates made.
            score: validation score; infinity where it is not finite.
            earlier: it was made before the run was interrupted, and needs no answer.
        """

    def tell(self, slot: int, outcome: Execution | Failure) -> None:
        """The slot's request has ended."""

    def abandon(self, reason: str) -> None:
        """No more runs will be made; what was asked for and not told is left for another time."""

    def finished(self) -> bool:
        """Whether nothing is left to ask for, now or later."""
