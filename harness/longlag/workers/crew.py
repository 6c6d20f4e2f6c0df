"""Runs side by side, without Optuna: handed in one by one, given back as they finish, whoever trained them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from longlag.errors import UserError
from longlag.spec import RunSpec
from longlag.study.result import StudyCallback
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.training.checkpoint import SECONDS
from longlag.training.environment import torch_threads
from longlag.workers.events import dispatch
from longlag.workers.runner import FINAL, Execution, Interrupted, Place, execute

DEATHS = 3  # of processes in one run, after which the crew gives up
LOOK = 0.2  # seconds between two looks at whether to stop


class Bench(BaseModel):
    """Where the crew records its runs, and how it works.

    Attributes:
        home: folder of the results.
        tracking_uri: the MLflow store; None for the home's own.
        experiment: the study's, there.
        parent: the study's own run, there.
        name: of the study; its workers' logs are named for it.
        threads: of torch, in each worker.
        checkpoint_seconds: between two checkpoints of a run; None keeps none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path
    tracking_uri: str | None
    experiment: str
    parent: str
    name: str
    threads: int = 1
    checkpoint_seconds: float | None = SECONDS


class Asked(BaseModel):
    """A run that is asked for.

    Attributes:
        spec: the run.
        name: as it stands in the tracking UI.
        tags: what it is found by there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: RunSpec
    name: str
    tags: Mapping[str, str] = Field(default_factory=dict)


@dataclass
class _Lane:
    """One worker process, started with its first run."""

    index: int
    callbacks: Sequence[StudyCallback]
    process: subprocess.Popen[str] | None = None


class Crew:
    """`workers` processes that train what is submitted, in its order; with 1 it is this process.

    A run that finished before is found, and no process is started for it. A worker that dies is replaced, and its run
    goes on from its checkpoint.

    Args:
        bench: where, and how.
        workers: how many.
        store: the tracking store.
        callbacks: told what the workers do, through `StudyCallback.worker`.
        stop: asked often; true ends what is in hand after the next update, saved.
    """

    def __init__(
        self, bench: Bench, workers: int, store: Store, callbacks: Sequence[StudyCallback], stop: Callable[[], bool]
    ) -> None:
        self.bench, self.store, self.stop = bench, store, stop
        self.home = Home(bench.home)
        lanes = [[callback.worker(index) for callback in callbacks] for index in range(workers)]
        self.lanes = [_Lane(index, told) for index, told in enumerate(lanes)]
        self.alone = workers == 1
        self.callbacks = callbacks
        self.tickets = 0
        self.found: deque[tuple[int, Execution]] = deque()
        self.waiting: queue.SimpleQueue[tuple[int, Asked] | None] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []
        self.closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Workers end when they have saved what is in hand; at once where this process was told to stop at once."""
        self.closing = True
        now = error is not None and not isinstance(error, Interrupted)
        for lane in self.lanes:
            if lane.process is not None:
                if now:
                    lane.process.kill()
                _close(lane.process.stdin)
        for _ in self.threads:
            self.waiting.put(None)
        for thread in self.threads:
            thread.join()
        for lane in self.lanes:
            _end(lane.process)

    def submit(self, asked: Asked) -> int:
        """Queue a run; returns the number under which `next` gives it back."""
        ticket, self.tickets = self.tickets, self.tickets + 1
        recorded = self.store.find(asked.spec.run_key)
        if recorded is not None and recorded.result is not None and recorded.result.outcome in FINAL:
            bench = self.bench
            run_id = self.store.adopt(recorded, bench.experiment, bench.parent, dict(asked.tags), asked.name)
            self.found.append((ticket, Execution(recorded.result, run_id, bench.experiment, trained=False)))
            return ticket
        self.waiting.put((ticket, asked))
        if not self.alone and len(self.threads) < len(self.lanes):
            thread = threading.Thread(target=self._serve, args=(self.lanes[len(self.threads)],), daemon=True)
            self.threads.append(thread)
            thread.start()
        return ticket

    def next(self) -> tuple[int, Execution]:
        """Wait for a run that was submitted; the caller knows that there is one.

        Raises:
            Interrupted: when `stop` was true.
            UserError: what a worker found wrong.
            RuntimeError: when a run raised an exception, or its worker died three times.
        """
        if self.found:
            return self.found.popleft()
        if self.alone:
            return self._train()
        while True:
            if self.stop():
                raise Interrupted("stopped by hand")
            try:
                kind, first, second = self.told.get(timeout=LOOK)
            except queue.Empty:
                continue
            if kind == "event":
                for callback in self.lanes[first].callbacks:
                    dispatch(second, callback)
            elif kind == "died":
                for callback in self.callbacks:
                    callback.worker_died(first, second)
            elif kind == "wrong":
                raise first
            else:
                return first, second

    def _train(self) -> tuple[int, Execution]:
        item = self.waiting.get_nowait()
        assert item is not None
        ticket, asked = item
        callbacks = self.lanes[0].callbacks
        with torch_threads(self.bench.threads):
            return ticket, carry_out(asked, self.bench, self.store, callbacks, self.stop)

    # -- a lane, in its thread --------------------------------------------------------------------------------------

    def _serve(self, lane: _Lane) -> None:
        while (item := self.waiting.get()) is not None and not self.closing:
            ticket, asked = item
            try:
                done = self._through(lane, asked)
            except Exception as error:
                self.told.put(("wrong", error, None))
                return
            if done is None:  # stopped
                return
            self.told.put(("done", ticket, done))

    def _through(self, lane: _Lane, asked: Asked) -> Execution | None:
        """Let the lane's process train it; another one where that dies."""
        for _ in range(DEATHS):
            process = self._process(lane)
            assert process.stdin is not None and process.stdout is not None
            with suppress(OSError, ValueError):  # it is dead, or this process is closing: the reading below sees it
                process.stdin.write(asked.model_dump_json() + "\n")
                process.stdin.flush()
            for line in process.stdout:
                try:
                    kind, *rest = json.loads(line)
                except ValueError:  # it was killed within the line
                    continue
                if kind == "mistake":
                    raise UserError(rest[0])
                if kind == "failed":
                    raise RuntimeError(f"{rest[0]} (see {self._log(lane)})")
                if kind == "done":
                    result = RunResult.model_validate_json(rest[0])
                    return Execution(result, rest[1], self.bench.experiment, trained=rest[2])
                self.told.put(("event", lane.index, [kind, *rest]))
            code = process.wait()
            if self.closing or self.stop():
                return None
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.told.put(("died", lane.index, f"{how}; see {self._log(lane)}"))
        raise RuntimeError(
            f"{DEATHS} workers died in one run ({how}), see {self._log(lane)}; is there too little memory?"
        )

    def _process(self, lane: _Lane) -> subprocess.Popen[str]:
        """A process in a session of its own: Ctrl-C in the terminal reaches this process alone."""
        if lane.process is not None and lane.process.poll() is None:
            return lane.process
        _end(lane.process)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.bench.threads)}
        self._log(lane).parent.mkdir(exist_ok=True)
        with self._log(lane).open("w", encoding="utf-8") as log:
            lane.process = subprocess.Popen(
                [sys.executable, "-m", "longlag.workers.crew_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
        assert lane.process.stdin is not None
        with suppress(OSError):
            lane.process.stdin.write(self.bench.model_dump_json() + "\n")
        return lane.process

    def _log(self, lane: _Lane) -> Path:
        return self.bench.home / "logs" / f"{self.bench.name}-worker{lane.index + 1}.txt"


def carry_out(
    asked: Asked, bench: Bench, store: Store, callbacks: Sequence[StudyCallback], stop: Callable[[], bool]
) -> Execution:
    """Train one run in this process, or find it.

    Raises:
        Interrupted: when `stop` was true; the run is saved.
    """

    def started(spec: RunSpec) -> None:
        for callback in callbacks:
            callback.run_started(spec)

    place = Place(bench.experiment, bench.parent, dict(asked.tags), asked.name)
    return execute(
        asked.spec,
        store,
        Home(bench.home),
        place,
        callbacks=[*callbacks],
        started=started,
        interrupted=stop,
        checkpoint_seconds=bench.checkpoint_seconds,
    )


def _end(process: subprocess.Popen[str] | None) -> None:
    if process is not None:
        process.wait()
        _close(process.stdin)
        _close(process.stdout)


def _close(stream: Any) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.close()
