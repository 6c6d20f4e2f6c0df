"""The folder of built libraries, which any number of processes share.

The folder is ``$XDG_CACHE_HOME/longlag`` (``~/.cache/longlag``). Files in it are used only while the folder belongs to
this user and nobody else can write to it; where there is no such folder a private temporary one serves. The checksum of
every file that is read back is beside it.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from longlag import files
from longlag.kernels.targets.target import Cached
from longlag.log import log

WAIT_SECONDS = 120
"""How long to wait for another process that builds the same file, before building it here as well."""


def private(folder: Path) -> bool:
    """Whether `folder` is a directory of this user that nobody else can write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def cache_folder() -> Path:
    """Where built libraries are kept; created when needed."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base else Path("~/.cache").expanduser()) / "longlag"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
        log.info("%s is not a folder that only this user can write to: built libraries go into a temporary one", folder)
    except (OSError, RuntimeError) as error:  # a RuntimeError: the user has no home folder
        log.info("built libraries go into a temporary folder: %s", error, exc_info=True)
    return temporary_folder()


@cache
def temporary_folder() -> Path:
    """A folder of this process alone, removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="longlag-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def trusted(path: Path) -> bool:
    """Whether `path` is a file that only this user could have written."""
    try:
        status = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return ours and private(path.parent)


def contents(suffixes: Sequence[str]) -> Cached:
    """The files of the cache with these suffixes, each read and verified."""
    folder = cache_folder()
    whole, damaged, unfinished = 0, {}, 0
    for path in sorted(path for path in folder.iterdir() if path.suffix in suffixes):
        try:
            files.read_with_checksum(path)
            whole += 1
        except FileNotFoundError:
            unfinished += 1
        except (OSError, files.Damaged) as error:
            damaged[path] = str(error)
    return Cached(folder, whole, unfinished, damaged)


@contextmanager
def build_lock(path: Path) -> Iterator[None]:
    """Hold the right to build `path`, as soon as no other process or thread does.

    It only saves work: two builds of the same file do each other no harm. So where the lock is not available (a file
    system without locks, a builder that was stopped) the build continues without it.
    """
    name = path.with_suffix(".lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        name.unlink(missing_ok=True)  # while the lock is held: the next process looks for the library first
        os.close(lock)
