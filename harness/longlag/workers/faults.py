"""What goes wrong outside of a run: a full disk, a home that cannot be written, a lost database, no memory left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from longlag import registry
from longlag.errors import UserError, one_line
from longlag.tracking.connection import server_fault

Explain = Callable[[BaseException], str | None]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SQLITE = {  # its words, and ours; drivers and MLflow hand them on as text alone
    "database or disk is full": "{disk} is full",
    "attempt to write a readonly database": "{home} cannot be written",
    "unable to open database file": "{home} cannot be written",
    "disk i/o error": "{disk} is full, or fails",
}
CONTINUES = "what is finished is kept, and the same command continues"


def no_explanation(error: BaseException) -> str | None:
    return None


def message(error: BaseException, home: Path, explain: Explain = no_explanation) -> str | None:
    """What stops every run; None for an error of one run, or of ours.

    Args:
        error: what was raised, with what it was raised from.
        home: folder of the results.
        explain: what else an error may mean.
    """
    for each in chain(error):
        what = _of_disk(each, home) or server_fault(each) or explain(each)
        if what is not None:
            return f"{what}; {CONTINUES}"
    return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and all those that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__context__, each.__cause__]


def _of_disk(error: BaseException, home: Path) -> str | None:
    disk = f"the disk of home {home}"
    if isinstance(error, OSError):
        if error.errno in FULL:
            return f"{disk} is full"
        if error.errno == errno.EROFS or (error.errno == errno.EACCES and _within(error.filename, home)):
            return f"home {home} cannot be written: {os.strerror(error.errno)}"
        if error.errno == errno.EIO:
            return f"{disk} fails: {os.strerror(error.errno)}"
    text = str(error).lower()
    for words, ours in SQLITE.items():
        if words in text:
            return ours.format(disk=disk, home=f"home {home}")
    return None


def _within(name: object, home: Path) -> bool:
    return isinstance(name, str) and Path(name).is_relative_to(home)


@contextmanager
def translate_errors(home: Path, explain: Explain = no_explanation) -> Iterator[None]:
    """Turn an error that stops every run into one sentence.

    Raises:
        UserError: with that sentence.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = message(error, home, explain) or of_plugin(error)
        if said is None:
            raise
        raise UserError(said) from error


def of_plugin(error: BaseException) -> str | None:
    """What is said of an error in the code of a third party; None for any other."""
    culprit = registry.raised_by(error)
    return culprit and f"{culprit} failed: {one_line(error)} (`longlag -v …` shows the traceback)"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory: Python's, torch's on a CPU (a RuntimeError known by its text) or a GPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
