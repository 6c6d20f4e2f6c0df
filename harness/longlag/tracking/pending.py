"""One upload in a folder of its own: what it is, its points, its files.

``upload.json`` says what it is, ``points.jsonl`` has a point in every line, ``files`` is there once the run has ended.
Whoever works on an upload holds the lock of its points; a process that dies gives it back.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from longlag import files
from longlag.tracking.upload import BATCH, Logged, Upload

UPLOAD, POINTS, FILES = "upload.json", "points.jsonl", "files"


class Pending:
    """An upload that this process works on. `begin` and `take` make one.

    Args:
        folder: its own.
        upload: what it is.
        file: its points, locked.
    """

    def __init__(self, folder: Path, upload: Upload, file: BinaryIO) -> None:
        self.folder, self.upload, self._file = folder, upload, file
        self._writing = threading.Lock()

    @classmethod
    def begin(cls, spool: Path, upload: Upload) -> Pending:
        """Make the folder of an upload; it is seen when it is whole and locked."""
        spool.mkdir(exist_ok=True)
        draft = spool / f".{uuid.uuid4().hex}"
        draft.mkdir()
        made = cls(draft, upload, (draft / POINTS).open("ab"))
        fcntl.flock(made._file, fcntl.LOCK_EX)
        made.write()
        made.folder = draft.rename(spool / f"{upload.started}-{upload.token}")
        return made

    @classmethod
    def take(cls, folder: Path, seconds: float = 0.0) -> Pending | None:
        """Take an upload over; None where somebody else works on it, or has just delivered it.

        Args:
            folder: its own.
            seconds: to wait until nobody else works on it.

        Raises:
            OSError, ValueError, TypeError: when it is damaged.
        """
        if not folder.is_dir():
            return None
        file = (folder / POINTS).open("ab")
        try:
            if _locked(file, seconds) and folder.is_dir():  # else it was delivered while this waited
                return cls(folder, read(folder), file)
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def write(self) -> None:
        """Write down what it is, as it is now."""
        with self._writing:
            files.write(self.folder / UPLOAD, json.dumps(files.sealed(asdict(self.upload))).encode())

    # -- points -----------------------------------------------------------------------------------------------------

    def add(self, points: Iterable[Logged]) -> None:
        """Append points; a thread that reads sees them at once."""
        self._file.write("".join(f"{json.dumps(point)}\n" for point in points).encode())
        self._file.flush()

    def sync(self) -> tuple[int, str]:
        """Flush the points to the disk; returns how many bytes they are, and their SHA-256."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END), _digest(self.folder / POINTS)

    def cut(self, length: int, digest: str) -> None:
        """Remove the points behind the first `length` bytes: of updates that are made again.

        Raises:
            Damaged: when those before are not what was written.
        """
        self._file.truncate(min(length, self._file.seek(0, os.SEEK_END)))
        if self.sync() != (length, digest):
            raise files.Damaged("the checksum of its points differs")

    def read(self, offset: int) -> tuple[list[Logged], int]:
        """At most a batch of points from a place in the file on, and the place behind them."""
        with (self.folder / POINTS).open("rb") as file:
            file.seek(offset)
            lines = list(islice(file, BATCH))
        if lines and not lines[-1].endswith(b"\n"):  # it is being written
            lines.pop()
        return [Logged(*json.loads(line)) for line in lines], offset + sum(map(len, lines))

    # -- the end ----------------------------------------------------------------------------------------------------

    @property
    def files(self) -> Path | None:
        """The folder of the run's files, where it has any."""
        folder = self.folder / FILES
        return folder if folder.is_dir() else None

    def end(self, made: Path | None, status: str, tags: Mapping[str, str]) -> None:
        """The run has ended, with the files of a folder: its upload is pending, whatever becomes of this process."""
        if made is not None:
            shutil.rmtree(self.folder / FILES, ignore_errors=True)  # of an end that was not the last
            shutil.copytree(made, self.folder / FILES)
        _, self.upload.points = self.sync()
        with self._writing:  # else a draft could vanish in between
            files.flush(self.folder)
        self.upload.set_end(status, tags)
        self.write()

    def remove(self) -> None:
        """Remove the folder of what is delivered.

        Raises:
            OSError: when it cannot be removed.
        """
        gone = self.folder.rename(self.folder.with_name(f".{self.folder.name}"))
        shutil.rmtree(gone, ignore_errors=True)

    def release(self) -> None:
        """Let others take it over."""
        self._file.close()


def _locked(file: BinaryIO, seconds: float) -> bool:
    """Whether this process has the lock of a file, in so much time at most."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)


def read(folder: Path) -> Upload:
    """What an upload is.

    Raises:
        OSError, ValueError, TypeError: when it is damaged.
    """
    fields, _ = files.unsealed((folder / UPLOAD).read_bytes())
    return Upload(**fields)


def verify(folder: Path) -> None:
    """Be sure that an upload whose run has ended is what was written.

    Raises:
        OSError, ValueError, TypeError: when it is not.
    """
    if _digest(folder / POINTS) != read(folder).points:
        raise files.Damaged("the checksum of its points differs")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, files.CHECKSUM).hexdigest()
