"""The loop between a search and its workers: requests out, outcomes back, dead workers replaced, a stop that saves."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from longlag.errors import UserError
from longlag.log import log
from longlag.tracking.store import Store
from longlag.training import RunCallback
from longlag.workers.launchers import Launcher
from longlag.workers.messages import Message, dispatch, outcome
from longlag.workers.requests import (
    Execution,
    Failure,
    Interrupted,
    RunRequest,
    Search,
    WorkerCallback,
    WorkerConfig,
)
from longlag.workers.runner import find

DEATHS = 3  # of worker processes in one run; with one more the run has failed
PATIENCE = 5  # workers in a row that may die before a run ends
LOOK = 0.3  # seconds between two looks at whether to stop
POLL = 1.0  # seconds between two questions to a search that has no request at present


@dataclass
class Slot:
    """A place for one worker.

    Args:
        worker: whether there is one, and whether it takes requests.
        request: the run that it executes, or is to execute.
        deaths: of workers in this request.
    """

    worker: Literal["none", "starting", "ready"] = "none"
    request: RunRequest | None = None
    deaths: int = 0


class Supervisor:
    """Executes what a search asks for.

    Args:
        search: hands out run requests and receives their outcomes.
        launcher: starts workers.
        config: what each worker is given.
        store: the tracking store; a run that finished before needs no worker.
        callbacks: those of a worker slot.
        stop: asked often; true ends everything once the runs are saved.
    """

    def __init__(
        self,
        search: Search,
        launcher: Launcher,
        config: WorkerConfig,
        store: Store,
        callbacks: Callable[[int], Sequence[RunCallback]],
        stop: Callable[[], bool],
    ) -> None:
        self.search, self.launcher, self.config, self.store = search, launcher, config, store
        self.callbacks, self.stop = callbacks, stop
        self.slots: dict[int, Slot] = {}
        self.messages: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()
        self.next_ask = -math.inf  # when the search may be asked again
        self.deaths = 0  # in a row
        self.stopping = False

    def run(self) -> None:
        """Return when the search is finished and no worker is left.

        Raises:
            Interrupted: when `stop` was true before.
            UserError: for a mistake that a worker found.
            RuntimeError: when workers die one after another.
        """
        try:
            with self.launcher:
                try:
                    self.work()
                    self.drain()
                except Exception:
                    self.drain()  # the runs of the other workers are saved
                    raise
                finally:
                    self.launcher.kill()
        except BaseException as error:
            self.search.abandon(str(error) or "interrupted")
            raise
        if self.stop() and not self.search.finished():
            self.search.abandon("stopped by hand")
            raise Interrupted("stopped by hand")

    def work(self) -> None:
        """Give every slot a request and handle messages, until nothing is left to do or `stop` is true."""
        while not self.stop():
            self.launcher.tick()
            self.fill()
            if not any(slot.request for slot in self.slots.values()) and self.search.finished():
                return
            self.receive()

    def drain(self) -> None:
        """Let all workers save their runs and end, and tell the search what still finishes."""
        self.stopping = True
        self.launcher.stop()
        while not self.launcher.inline and any(slot.worker != "none" for slot in self.slots.values()):
            self.launcher.tick()
            try:
                self.receive()
            except Exception as error:  # the first one ends everything; this one is often the same again
                log.info("while the workers end: %s", error, exc_info=True)

    def fill(self) -> None:
        for index in range(max(self.launcher.room(), len(self.slots))):
            slot = self.slots.setdefault(index, Slot())
            while slot.request is None and not self.stop() and time.monotonic() >= self.next_ask:
                slot.request = self.search.ask(index)
                if slot.request is None:
                    self.next_ask = time.monotonic() + POLL
                    break
                found = None
                if slot.worker == "none" and not self.launcher.inline:  # a run that is found needs no worker
                    found = find(slot.request, self.config, self.store)
                if found is not None:
                    self.ended(index, found)
                elif slot.worker == "none":
                    self.start(index)
                elif slot.worker == "ready":
                    self.launcher.run(index, slot.request)

    def start(self, index: int) -> None:
        self.slots[index].worker = "starting"
        self.launcher.start(index, self)

    def receive(self) -> None:
        """Wait a moment for a message; handle it, and those that have come meanwhile."""
        with suppress(queue.Empty):
            self.handle(*self.messages.get(timeout=LOOK))
            for _ in range(self.messages.qsize()):
                self.handle(*self.messages.get_nowait())

    # -- what launchers report ----------------------------------------------------------------------------------------

    def post(self, index: int, message: Message) -> None:
        """Queue a message; from any thread."""
        self.messages.put((index, message))

    def handle(self, index: int, message: Message) -> None:
        kind, *rest = message
        slot = self.slots[index]
        if kind == "ready":
            self.ready(index)
        elif kind == "score":
            self.scored(index, *rest)
        elif kind in ("done", "failed"):
            if slot.request is not None:
                self.ended(index, outcome(message))
        elif kind == "mistake":
            raise UserError(rest[0])
        elif kind == "lost":
            self.lost(index, rest[0])
        elif kind == "ended":
            self.worker_ended(index, *rest)
        elif kind != "interrupted":  # of which ``ended`` will say more
            for callback in self.callbacks(index):
                dispatch(message, callback)

    def died(self, index: int, how: str) -> None:
        for callback in self.callbacks(index):
            if isinstance(callback, WorkerCallback):
                callback.worker_died(index, how)

    def ready(self, index: int) -> None:
        """A worker takes requests. It gets the slot's, which an earlier worker may have begun."""
        slot = self.slots[index]
        slot.worker = "ready"
        if self.stopping:
            self.launcher.stop()  # it was started too late to be stopped with the others
        elif slot.request is not None:
            self.launcher.run(index, slot.request)

    def scored(self, index: int, update: int, score: float, earlier: bool) -> str | None:
        request = self.slots[index].request
        if request is None:
            return None
        reason = self.search.evaluated(index, update, score, earlier)
        if request.answered and not earlier:
            self.launcher.answer(index, reason)
        return reason

    def ended(self, index: int, outcome: Execution | Failure) -> None:
        """The slot's request has ended."""
        slot = self.slots[index]
        slot.request, slot.deaths, self.deaths, self.next_ask = None, 0, 0, -math.inf
        self.search.tell(index, outcome)

    def lost(self, index: int, how: str) -> None:
        """A worker is gone, and the launcher starts another one by itself."""
        self.slots[index].worker = "starting"
        self.died(index, how)

    def worker_ended(self, index: int, how: str) -> None:
        """A worker is gone: as it should, or by a death, after which another one continues its run."""
        slot = self.slots[index]
        slot.worker = "none"
        if self.stopping or slot.request is None:
            return
        self.died(index, how)
        self.deaths, slot.deaths = self.deaths + 1, slot.deaths + 1
        if self.deaths >= PATIENCE:
            raise self.launcher.gave_up(index, self.deaths, how)
        if slot.deaths <= DEATHS:
            self.start(index)
            return
        deaths = self.deaths
        self.ended(index, Failure(f"its worker process died {slot.deaths} times ({how})"))
        self.deaths = deaths
