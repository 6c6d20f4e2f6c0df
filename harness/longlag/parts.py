"""Parts of what a study ends with: tables, pictures, pages. One that fails is a line, and the others are made.

Results are stored before any of them is made, and each can be made again. An exception in one is a fault of longlag, of
a plug-in or of the disk, and no reason to end a complete study with a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from longlag import escape
from longlag.credentials import masked
from longlag.errors import UserError, one_line
from longlag.log import log

T = TypeVar("T")


class Parts:
    """Makes parts one by one.

    Args:
        failed: what could not be made before.

    Attributes:
        failed: a sentence for each that could not be made; the log has it, with its traceback.
    """

    def __init__(self, failed: Iterable[str] = ()) -> None:
        self.failed = list(failed)

    def make(self, what: str, make: Callable[[], T]) -> T | None:
        """What `make` returns; None if it raised an exception. `what` is the part, such as ``the table of trials``."""
        try:
            return make()
        except BrokenPipeError:  # nobody reads on, as with `| head`
            raise
        except Exception as error:  # whatever it is, it concerns this part alone
            sentence = masked(f"{what} cannot be made: {_reason(error)}")
            log.warning("%s", sentence, exc_info=True)
            self.failed.append(sentence)
            return None

    def section(self) -> list[str]:
        """A section of a Markdown page on what could not be made; empty where everything was."""
        lines = [f"- {escape.markdown(sentence)}" for sentence in self.failed]
        return ["## Missing", "", *lines, ""] if lines else []


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, UserError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return one_line(error)
