"""Crash files: the traceback of an error that nobody expected, for the owner of the home alone, without passwords."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from types import TracebackType

from longlag.credentials import masked


def keep_traceback(folder: Path, name: str, heading: str = "") -> Path:
    """Write the traceback of the exception that is being handled; returns the file.

    Nobody else can read it at any moment: it is made with mode 0600 and renamed.

    Args:
        folder: made where there is none.
        name: of the file; an earlier one is replaced.
        heading: lines above the traceback.

    Raises:
        OSError: when it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(masked(f"{heading}{traceback.format_exc()}"))
    return Path(draft).replace(folder / name)


def private(path: str, flags: int) -> int:
    """An opener for files that only their owner may read: they may hold a traceback."""
    return os.open(path, flags, 0o600)


def print_traceback(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Print an exception as Python does, without passwords; a ``sys.excepthook``."""
    print(masked("".join(traceback.format_exception(kind, error, where))), end="", file=sys.stderr, flush=True)
