"""The logger ``longlag``: what went wrong without ending anything is logged, never dropped.

How a module logs::

    from longlag.log import log

    except OSError as error:
        log.info("the checkpoint cannot be written: %s", error, exc_info=True)

``warning`` is for what a user should see without asking: something was lost, set aside or begun again. ``info`` is for
a failure that the program handled. Pass ``exc_info=True`` in both: tracebacks appear only with ``longlag -v``. No
handler is set up on import, so a program that imports longlag configures the logger as any other. Passwords in
addresses are masked before any handler sees them.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from copy import copy

from longlag import escape
from longlag.credentials import masked

VARIABLE = "LONGLAG_VERBOSE"
"""Set to 1 by ``longlag -v``, so that worker processes log as much as the process that started them."""

log = logging.getLogger("longlag")


def _mask(record: logging.LogRecord) -> bool:
    """A filter of the logger: no password in the message or its traceback."""
    record.msg, record.args = masked(record.getMessage()), ()
    if record.exc_info and not record.exc_text:
        record.exc_text = masked(logging.Formatter().formatException(record.exc_info))
    return True


log.addFilter(_mask)


class _Lines(logging.Formatter):
    """``warning: text``, and the traceback below it where tracebacks are shown."""

    def __init__(self, tracebacks: bool) -> None:
        super().__init__("%(levelname)s: %(message)s")
        self.tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        shown.levelname = record.levelname.lower()
        if not self.tracebacks:
            shown.exc_info = shown.exc_text = None
        return escape.lines(super().format(shown))


class _Stderr(logging.Handler):
    """Writes to what ``sys.stderr`` is at that moment: a progress display replaces it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # stderr is closed, and there is no other place to say so
            print(self.format(record), file=sys.stderr, flush=True)


def show(verbose: bool | None = None) -> None:
    """Show the log on stderr: warnings, or with `verbose` every failure with its traceback.

    Args:
        verbose: as the environment variable says when not given, which worker processes inherit.
    """
    if verbose is None:
        verbose = os.environ.get(VARIABLE) == "1"
    elif verbose:
        os.environ[VARIABLE] = "1"
    for handler in [handler for handler in log.handlers if isinstance(handler, _Stderr)]:
        log.removeHandler(handler)
    handler = _Stderr()
    handler.setFormatter(_Lines(tracebacks=verbose))
    log.addHandler(handler)
    log.setLevel(logging.INFO if verbose else logging.WARNING)
