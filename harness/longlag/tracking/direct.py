"""Delivery to a store that is a file: in the thread that trains, as the store takes a batch in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag.log import log
from longlag.tracking.upload import BATCH, Logged, Upload

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""Between two attempts when the store fails."""


class Direct:
    """Writes points in batches; a store that fails for a while ends no run.

    Args:
        client: of the store.
        upload: the run.
        unwritten: points of before the checkpoint that were not written.
    """

    def __init__(self, client: MlflowClient, upload: Upload, unwritten: list[Logged]) -> None:
        self.client, self.upload = client, upload
        self._buffer = unwritten
        self._next, self._late = 0.0, False

    def begin(self) -> None:
        self.upload.begin(self.client)
        self._next = time.monotonic() + FLUSH_SECONDS

    def add(self, points: Sequence[Logged]) -> None:
        self._buffer += points
        now = time.monotonic()
        if now < self._next and (len(self._buffer) < BATCH or self._late):
            return
        try:
            self._flush()
            self._next, self._late = now + FLUSH_SECONDS, False
        except Exception as error:  # a store that fails for a while ends no run of hours
            self._next, self._late = now + PATIENCE_SECONDS, True
            log.info(
                "%s fails, %d points are tried again: %s", self.upload.uri, len(self._buffer), error, exc_info=True
            )

    def saved(self) -> Mapping[str, Any]:
        return {"run_id": self.upload.run_id, "buffer": [list(point) for point in self._buffer]}

    def end(self, files: Path, status: str, tags: Mapping[str, str]) -> None:
        self.upload.set_end(status, tags)
        self.upload.begin(self.client)
        self.upload.end(self.client, self._buffer, files)

    def fail(self, status: str, tags: Mapping[str, str]) -> None:
        self.upload.set_end(status, tags)
        try:
            self._flush()
        except Exception as lost:
            log.warning("%d points of run %s are lost: %s", len(self._buffer), self.upload.run_id, lost, exc_info=True)
        try:
            self.upload.end(self.client, (), None)
        except Exception as lost:
            log.warning("run %s cannot be marked as %s: %s", self.upload.run_id, status, lost, exc_info=True)

    def _flush(self) -> None:
        self.upload.begin(self.client)
        self.upload.send(self.client, self._buffer)
        self._buffer = []
