"""The spool: uploads that a tracking server has not taken yet, kept in the home and delivered when it answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from longlag import files
from longlag.credentials import bare
from longlag.errors import UserError
from longlag.log import log
from longlag.tracking import connection, pending
from longlag.tracking.pending import Pending

if TYPE_CHECKING:
    from mlflow import MlflowClient

ATTEMPTS = 3
"""Deliveries of one upload that may fail before it is set aside."""


class Spool:
    """Uploads in a folder.

    An upload whose run has ended is pending. One that fails while the server answers does not hold up those after it.
    After `ATTEMPTS` failures it is set aside, with a warning, in the folder ``set-aside``; `retry` makes it pending
    again. The upload of a run that goes on is here as well: a run whose process died continues it.

    Args:
        folder: of the home.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = folder / "set-aside"

    def pending_uploads(self) -> list[Path]:
        return [path for path in _uploads(self.folder) if _has_ended(path)]

    def unfinished(self) -> list[Path]:
        """Those of runs that go on, or whose process died."""
        return [path for path in _uploads(self.folder) if not _has_ended(path)]

    def set_aside(self) -> list[Path]:
        """The uploads that are not tried any more."""
        return _uploads(self._aside)

    def damaged(self) -> dict[Path, str]:
        """The uploads, set aside or not, that cannot be read, and why."""
        found = {}
        for path in (*self.pending_uploads(), *self.set_aside()):
            try:
                pending.verify(path)
            except (OSError, ValueError, TypeError) as error:
                if path.exists():  # else it was delivered meanwhile
                    found[path] = str(error)
        return found

    def retry(self) -> int:
        """Make the uploads that were set aside pending again; returns how many those are."""
        damaged = self.damaged()
        paths = [path for path in self.set_aside() if path not in damaged]
        for path in paths:
            path.rename(self.folder / path.name)
        return len(paths)

    def deliver(self, client: MlflowClient, address: str, wait: bool = False) -> int:
        """Tell a store what is kept for it; returns how many runs that were. A store that fails gets it later.

        Args:
            client: of the store.
            address: of the store.
            wait: for uploads that another process, or a thread of this one, works on.
        """
        delivered, uri = 0, bare(address)
        for path in self.pending_uploads():
            try:
                if pending.read(path).uri != uri:
                    continue
                upload = Pending.take(path, math.inf if wait else 0)
            except (OSError, ValueError, TypeError) as error:
                if path.is_dir():  # else it was delivered meanwhile
                    self._put_aside(path, error)
                continue
            if upload is None:
                continue
            try:
                deliver(client, upload)
                delivered += 1
            except files.Damaged as error:
                self._put_aside(path, error)
            except Exception as error:  # a client raises nearly anything, of its own and of what it calls
                log.info("pending upload %s is not delivered: %s", path.name, error, exc_info=True)
                if not _answers(address):
                    return delivered
                self._count(upload, error)
            finally:
                upload.release()
        return delivered

    def _count(self, upload: Pending, error: Exception) -> None:
        """Count an attempt that failed."""
        attempts = upload.upload.attempts + 1
        upload.upload.attempts = attempts % ATTEMPTS  # one that is pending again has as many
        upload.write()
        if attempts >= ATTEMPTS:
            self._put_aside(upload.folder, error)

    def _put_aside(self, path: Path, error: Exception) -> None:
        self._aside.mkdir(exist_ok=True)
        target = self._aside / path.name
        path.rename(target)
        log.warning(
            "pending upload %s cannot be delivered and is set aside: %s: %s (`longlag doctor --repair` tries it again)",
            target, type(error).__name__, error, exc_info=True,
        )  # fmt: skip


def deliver(client: MlflowClient, upload: Pending) -> None:
    """Tell a store all of an upload, and remove it."""
    pending.verify(upload.folder)
    upload.upload.begin(client)
    upload.write()  # should delivery stop halfway, it continues with this run
    points, offset = upload.read(0)
    while True:
        following, offset = upload.read(offset)
        if not following:
            break
        upload.upload.send(client, points)
        points = following
    upload.upload.end(client, points, upload.files)
    try:
        upload.remove()
    except OSError as error:
        log.warning("upload %s is delivered, and cannot be removed: %s", upload.folder, error, exc_info=True)


def _uploads(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())


def _has_ended(path: Path) -> bool:
    """Whether the run of an upload has; a damaged one is as good as that."""
    try:
        return pending.read(path).status != ""
    except (OSError, ValueError, TypeError):
        return True


def _answers(uri: str) -> bool:
    """Whether a server is there. A database has no such question: it is taken to be there."""
    if not uri.startswith(connection.SERVERS):
        return True
    try:
        connection.check_health(uri)
    except UserError:
        return False
    return True
