"""Reading files that a user names: regular files up to a size, so that no pipe or device is waited for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

DOCUMENT = 100_000_000
"""Bytes of a page, or of kept measurements, at most."""
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def opened(path: Path, most: int) -> BufferedReader:
    """A regular file of at most `most` bytes, open for reading.

    Raises:
        OSError: when it cannot be opened, or is something else; `strerror` says why.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe without a writer would be waited for
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
        if status.st_size > most:
            raise OSError(errno.EINVAL, f"it is larger than {most:,} bytes", str(path))
        return os.fdopen(number, "rb")
    except OSError:
        os.close(number)
        raise


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises:
        OSError: as `opened`.
    """
    with opened(path, most) as file:
        found = file.read(most + 1)
    if len(found) > most:  # such as a file in /proc, which says that it is empty
        raise OSError(errno.EINVAL, f"it is larger than {most:,} bytes", str(path))
    return found
