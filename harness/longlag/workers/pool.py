"""Workers on this machine: started, listened to, replaced when they die, and stopped."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from longlag.errors import UserError
from longlag.study.result import StudyCallback
from longlag.study.store import StudyStore
from longlag.study.worker import Job
from longlag.workers.events import dispatch
from longlag.workers.process import DONE, LOOK, MISTAKE, PATIENCE, STOPPED, Process, how, last_words
from longlag.workers.runner import Interrupted


class Pool:
    """The workers of one sweep.

    Args:
        job: what each is told.
        count: how many.
        study_store: the study.
        callbacks: told what the workers tell.
        stop: asked often; true stops the workers when they have saved what is in hand.
    """

    def __init__(
        self,
        job: Job,
        count: int,
        study_store: StudyStore,
        callbacks: Sequence[StudyCallback],
        stop: Callable[[], bool],
    ) -> None:
        self.job, self.study_store, self.callbacks, self.stop = job, study_store, callbacks, stop
        self.lanes = [[callback.worker(index) for callback in callbacks] for index in range(count)]
        self.processes: dict[int, Process] = {}
        self.events: queue.SimpleQueue[tuple[int, list[Any]]] = queue.SimpleQueue()
        self.deaths = 0
        self.mistake: str | None = None
        self.said_stop = False

    def go(self) -> None:
        """Until all workers have ended.

        Raises:
            Interrupted: when `stop` was true.
            UserError: what a worker found wrong.
        """
        try:
            for index in range(len(self.lanes)):
                self.start(index)
            while self.processes:
                self.listen(time.monotonic() + LOOK)
                if self.stop() and not self.said_stop:
                    self.said_stop = True
                    for process in self.processes.values():
                        process.stop()
                for index, process in list(self.processes.items()):
                    code = process.poll()
                    if code is not None:
                        self.ended(index, code)
            self.listen(time.monotonic())
        except BaseException:
            self.kill()
            raise
        if self.mistake is not None:
            raise UserError(self.mistake)
        if self.said_stop and not self.study_store.finished():
            raise Interrupted("stopped by hand")

    def start(self, index: int) -> None:
        self.processes[index] = Process(
            self.job.model_dump_json(),
            self.job.threads,
            self.log(index),
            lambda what: self.events.put((index, what)),
        )

    def listen(self, until: float) -> None:
        """Hand on what the workers tell, for a while."""
        while True:
            try:
                index, what = self.events.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                return
            if what[0] == "mistake":
                self.mistake = what[1]
                continue
            if what[0] == "trial_ended":
                self.deaths = 0
            for callback in self.lanes[index]:
                dispatch(what, callback)
            if time.monotonic() > until:
                return

    def ended(self, index: int, code: int) -> None:
        """Replace a worker that died; after a mistake of the user's stop the others."""
        del self.processes[index]
        if code in (DONE, STOPPED):
            return
        if code == MISTAKE:
            for other in self.processes.values():
                other.stop()
            return
        for callback in self.callbacks:
            callback.worker_died(index, f"{how(code)}; see {self.log(index)}")
        with self.study_store.lock():
            self.study_store.recover_orphans()
        self.deaths += 1
        if self.deaths >= PATIENCE:
            log = self.log(index)
            raise RuntimeError(f"{self.deaths} workers in a row died ({how(code)}; {log}: {last_words(log)})")
        if not self.said_stop and not self.study_store.finished():
            self.start(index)

    def kill(self) -> None:
        """All at once; what they had in hand is put back."""
        for process in self.processes.values():
            process.kill()
        self.processes.clear()
        with self.study_store.lock():
            self.study_store.recover_orphans()

    def log(self, index: int) -> Path:
        return self.job.home / "logs" / f"{self.job.spec.name}-worker{index + 1}.txt"
