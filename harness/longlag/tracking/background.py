"""Delivery to a server: by a thread of its own, so that nothing that the server does holds up the training."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag.log import log
from longlag.tracking import connection
from longlag.tracking.pending import Pending
from longlag.tracking.upload import BATCH, Logged

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""Between two attempts when the server fails."""
LEAST_SECONDS, MOST_SECONDS, SHARE = 5.0, 60.0, 0.02
"""How long the end of a run waits for the server: a share of the run's own time, within these bounds."""
NAME, BEHIND = "longlag delivery", 4
"""Threads of this name, and how many of them may go on to deliver runs that have ended."""


class Background:
    """Points go to a file, which the thread reads a batch at a time; no more of them are in memory.

    The end of the run waits for the thread, for a bounded time. The rest is in the spool, and the thread delivers it
    during the next run. What is left when this process ends, the next process delivers.

    Args:
        client: of the store.
        pending: the run, in the spool.
    """

    def __init__(self, client: MlflowClient, pending: Pending) -> None:
        self.client, self.pending, self.upload = client, pending, pending.upload
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._waiting = 0  # points since the thread looked
        self._closing = self._left = self._delivered = False
        self._offset = 0  # of the first point that is not delivered
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name=NAME, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def add(self, points: Sequence[Logged]) -> None:
        self.pending.add(points)
        with self._changed:
            self._waiting += len(points)
            if self._waiting >= BATCH:
                self._changed.notify()

    def saved(self) -> Mapping[str, Any]:
        run_id = self.upload.run_id or self.upload.continues
        length, digest = self.pending.sync()
        where = {"upload": self.pending.folder.name, "token": self.upload.token, "length": length, "points": digest}
        return {"run_id": run_id, **where}

    def end(self, files: Path, status: str, tags: Mapping[str, str]) -> None:
        self._end(files, status, tags, min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * (time.monotonic() - self._began))))

    def fail(self, status: str, tags: Mapping[str, str]) -> None:
        try:
            self._end(None, status, tags, LEAST_SECONDS)
        except OSError as lost:
            with self._changed:
                self._left = True
                self._changed.notify()
            log.warning("run %s cannot be marked as %s: %s", self.upload.run_id, status, lost, exc_info=True)

    def _end(self, files: Path | None, status: str, tags: Mapping[str, str], seconds: float) -> None:
        self.pending.end(files, status, tags)
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        if not self._delivered:
            self._left = sum(thread.name == NAME for thread in threading.enumerate()) > BEHIND
            log.warning(
                "%s does not take run %s now, which is kept in %s and delivered later: %s",
                self.upload.uri, self.upload.name or self.upload.run_id, self.pending.folder,
                self._error or f"not done within {seconds:.0f} s",
            )  # fmt: skip

    # -- the thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._until_delivered()
        finally:
            self.pending.release()

    def _until_delivered(self) -> None:
        while not self._left and not self._delivered:
            closing = self._closing  # read before the points: with it all of them are there
            try:
                if self._error is not None:
                    self._reach()
                self._deliver(closing)
                self._error = None
            except Exception as error:  # a client raises nearly anything, of its own and of what it calls
                self._error = error
                log.info("%s fails, the run is delivered later: %s", self.upload.uri, error, exc_info=True)
                if closing:
                    return
            with self._changed:
                self._changed.wait_for(self._due, PATIENCE_SECONDS if self._error else FLUSH_SECONDS)
                self._waiting = 0

    def _due(self) -> bool:
        return self._closing or self._left or (self._waiting >= BATCH and self._error is None)

    def _reach(self) -> None:
        """Ask a server that failed before whether it answers, in little time."""
        uri = str(self.client.tracking_uri)
        if uri.startswith(connection.SERVERS):
            connection.check_health(uri)

    def _deliver(self, closing: bool) -> None:
        """Deliver what is there; with the end of the run, when it has come."""
        known = replace(self.upload)
        self.upload.begin(self.client)
        if self.upload != known:
            self.pending.write()
        points, following = self.pending.read(self._offset)
        while points and not self._left and not (closing and len(points) < BATCH):
            with connection.slowness(self.upload.uri):
                self.upload.send(self.client, points)
            self._offset = following
            points, following = self.pending.read(self._offset)
        if closing and not self._left:
            self.upload.end(self.client, points, self.pending.files)
            self._delivered = True
            self.pending.remove()
