"""Workers as processes on this machine."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from longlag.workers.launchers import Launcher, Receiver
from longlag.workers.launchers.in_process import InProcess
from longlag.workers.process import WorkerProcess, last_words
from longlag.workers.requests import RunRequest

MEMORY = 1e9
"""Bytes that a worker is thought to need; torch, MLflow and Optuna alone take 0.5e9."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Local:
    """Workers on this machine; a single one is this process."""

    def launcher(self, workers: int | Literal["auto"], most: int | None) -> Launcher:
        count = how_many(workers, most)
        return InProcess() if count == 1 else LocalProcesses(count)


class LocalProcesses:
    """One worker process a slot."""

    inline = False

    def __init__(self, count: int) -> None:
        self.count = count
        self.processes: dict[int, WorkerProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """`kill` has ended all processes."""

    def room(self) -> int:
        return self.count

    def start(self, slot: int, supervisor: Receiver) -> None:
        log_file = log_of(supervisor.config.home, supervisor.config.name, slot)
        self.processes[slot] = WorkerProcess(supervisor.config, log_file, partial(supervisor.post, slot))

    def run(self, slot: int, request: RunRequest) -> None:
        self.processes[slot].send("run", request.model_dump(mode="json"))

    def answer(self, slot: int, prune: str | None) -> None:
        self.processes[slot].send("answer", prune)

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
        self.processes.clear()

    def tick(self) -> None:
        """Threads read what the workers write."""

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        said = last_words(self.processes[slot].log_file)
        return RuntimeError(f"{deaths} workers in a row died ({how}: {said})")


def log_of(home: Path, name: str, slot: int) -> Path:
    """Where a worker's output goes."""
    return home / "logs" / f"{name}-worker{slot + 1}.txt"


def how_many(workers: int | Literal["auto"], most: int | None = None) -> int:
    """How many workers: as many as asked for, or one a core that memory is there for; at most `most`."""
    if workers == "auto":
        cores = len(os.sched_getaffinity(0))
        count = max(1, min(cores, int(psutil.virtual_memory().available // MEMORY)))
    else:
        count = workers
    return count if most is None else max(1, min(count, most))
