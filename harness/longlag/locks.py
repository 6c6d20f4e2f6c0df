"""File locks, by which processes take turns; each is given back when its process dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from longlag.errors import UserError

MISSING = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without locks answers, such as NFS whose lock daemon does not run."""


def acquire(file: IO[str]) -> None:
    """Wait for the lock of an open file.

    Raises:
        UserError: when its file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        raise _explained(error, Path(file.name).parent) from error


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock in a file of its own, which goes with it.

    Raises:
        UserError: when its file system has no locks.
    """
    while True:
        with lock.open("a") as file:
            acquire(file)
            try:
                same = lock.stat().st_ino == os.fstat(file.fileno()).st_ino
            except FileNotFoundError:
                same = False
            if not same:  # its last holder removed it meanwhile
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def release(file: IO[str]) -> None:
    """Give the lock back before the file is closed."""
    fcntl.flock(file, fcntl.LOCK_UN)


def check(file: IO[str]) -> None:
    """Try both kinds of locks on an open file: longlag's, of whole files, and SQLite's, of ranges of bytes.

    Raises:
        UserError: when its file system lacks one.
    """
    acquire(file)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX)
    except OSError as error:
        raise _explained(error, Path(file.name).parent) from error


def _explained(error: OSError, folder: Path) -> OSError | UserError:
    if error.errno not in MISSING:
        return error
    return UserError(
        f"the file system of {folder} has no file locks ({os.strerror(error.errno)}), and without them two processes "
        "would damage each other's results; choose a home on another one with --home or LONGLAG_HOME, or have it "
        "mounted with locks, as NFS 4 has them"
    )
