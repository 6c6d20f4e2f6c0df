"""Workers on this machine: started, listened to, replaced when they die, and stopped."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from harness.registry import UserError
from harness.search.events import hand_on
from harness.search.ledger import Ledger
from harness.search.result import Watcher
from harness.search.runner import Interrupted
from harness.search.worker import DONE, MISTAKE, STOPPED, Job

PATIENCE = 5  # workers in a row that may end before one of them finishes a trial
LOOK = 0.5  # seconds


class Pool:
    """The workers of one sweep.

    Args:
        job: what each is told.
        count: how many.
        book: the study.
        watchers: told what the workers tell.
        stop: asked often; true stops the workers when they have saved what is in hand.
    """

    def __init__(
        self, job: Job, count: int, book: Ledger, watchers: Sequence[Watcher], stop: Callable[[], bool]
    ) -> None:
        self.job, self.book, self.watchers, self.stop = job, book, watchers, stop
        self.lanes = [[watcher.worker(index) for watcher in watchers] for index in range(count)]
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.lines: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
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
                        _close(process.stdin)
                for index, process in list(self.processes.items()):
                    if process.poll() is not None:
                        self.ended(index, process.returncode)
            self.listen(time.monotonic())
        except BaseException:
            self.kill()
            raise
        if self.mistake is not None:
            raise UserError(self.mistake)
        if self.said_stop and not self.book.finished():
            raise Interrupted("stopped by hand")

    def start(self, index: int) -> None:
        """A worker, in a session of its own: Ctrl-C in the terminal reaches this process alone."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.job.threads)}
        with self.log(index).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.search.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
        self.processes[index] = process
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):  # it died at once; `ended` will see it
            process.stdin.write(self.job.model_dump_json() + "\n")
            process.stdin.flush()
        threading.Thread(target=self.read, args=(index, process.stdout), daemon=True).start()

    def read(self, index: int, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.lines.put((index, line))

    def listen(self, until: float) -> None:
        """Hand on what the workers tell, for a while."""
        while True:
            try:
                index, line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                return
            try:
                what = json.loads(line)
            except ValueError:  # it was killed within the line
                continue
            if what[0] == "mistake":
                self.mistake = what[1]
                continue
            if what[0] == "trial_ended":
                self.deaths = 0
            for watcher in self.lanes[index]:
                hand_on(what, watcher)
            if time.monotonic() > until:
                return

    def ended(self, index: int, code: int) -> None:
        """Replace a worker that died; after a mistake of the user's stop the others."""
        process = self.processes.pop(index)
        _close(process.stdin)
        if code in (DONE, STOPPED):
            return
        if code == MISTAKE:
            for other in self.processes.values():
                _close(other.stdin)
            return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        for watcher in self.watchers:
            watcher.worker_died(index, f"{how}; see {self.log(index)}")
        with self.book.lock():
            self.book.rescue()
        self.deaths += 1
        if self.deaths >= PATIENCE:
            raise RuntimeError(f"{self.deaths} workers in a row died ({how}), see {self.log(index)}")
        if not self.said_stop and not self.book.finished():
            self.start(index)

    def kill(self) -> None:
        """All at once; what they had in hand is put back."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
            _close(process.stdin)
        self.processes.clear()
        with self.book.lock():
            self.book.rescue()

    def log(self, index: int) -> Path:
        folder = self.job.home / "logs"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.job.spec.name}-worker{index + 1}.txt"


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.close()
