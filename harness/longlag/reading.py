"""Files that a user names: regular files up to a size, so that no pipe or device is waited for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from longlag.errors import UserError, clipped

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


def database(path: str) -> Path:
    """The file of a SQLite database, absolute; it need not be there yet.

    Raises:
        UserError: when it can be none: no file, in no folder, or with options behind its name.
    """
    found = Path(path).absolute()
    if "?" in path:
        raise UserError(f"database {clipped(path)}: the address of a SQLite database ends before the ?")
    try:
        kind = stat.S_IFMT(found.stat().st_mode)
        if kind != stat.S_IFREG:
            raise UserError(f"database {clipped(found)}: it is {KINDS.get(kind, 'something else')}, not a file")
    except FileNotFoundError:
        if not found.parent.is_dir():
            raise UserError(f"database {clipped(found)}: there is no folder {clipped(found.parent)}") from None
    except OSError as error:
        raise UserError(f"database {clipped(found)}: {error.strerror}") from error
    return found


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
