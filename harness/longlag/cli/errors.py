"""What becomes of errors: one sentence for a user's mistake, one and a file for ours, never a traceback."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from longlag import crash, escape
from longlag.cli.terminal import json_alone
from longlag.credentials import masked
from longlag.errors import UserError, clipped, one_line, quoted, shortened, suggestion
from longlag.log import log

REFUSED = (
    errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST,
)  # fmt: skip
NO_MEMORY = "there is not enough memory for this: choose smaller sizes"
USER_ERROR, OUR_ERROR, INTERRUPTED, TERMINATED = 2, 1, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: ends a command as Ctrl-C does, so that nothing is left RUNNING."""


class Stopped(Exception):
    """A command that was stopped by hand, and what to say about it; typer swallows KeyboardInterrupt."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def stoppable(sentence: str) -> Iterator[None]:
    """Say `sentence` when what is inside is stopped by Ctrl-C or a signal."""
    try:
        yield
    except Terminated:
        raise Stopped(f"terminated; {sentence}", TERMINATED) from None
    except KeyboardInterrupt:
        raise Stopped(f"interrupted; {sentence}", INTERRUPTED) from None


def invoke(app: typer.Typer, arguments: list[str]) -> int:
    """Run a command line and say how it went, as an exit code."""
    for word in arguments:
        if re.search("[\ud800-\udfff]", word):  # bytes that are no text, which no database stores
            return complain(f"{quoted(word)} is not UTF-8 text", USER_ERROR)
    try:
        with _signals(), json_alone() if "--json" in arguments else nullcontext():
            code = app(arguments, prog_name="longlag", standalone_mode=False)
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except UserError as error:
        if error.__cause__ is not None:
            log.info("what was reported in one sentence:", exc_info=error.__cause__)
        return complain(str(error), USER_ERROR)
    except Stopped as stopped:
        print(escape.line(stopped), file=sys.stderr)
        return stopped.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on, as with `| head`
        return OUR_ERROR
    except Exception as error:
        if hasattr(error, "format_message"):  # a command line that typer refuses
            return complain(refusal(error, arguments), USER_ERROR)
        from longlag.tracking.connection import server_fault
        from longlag.workers.faults import of_plugin

        said = server_fault(error) or of_plugin(error) or system_fault(error)
        if said is not None:
            log.info("what was reported in one sentence:", exc_info=error)
            return complain(said, USER_ERROR)
        if debugging():
            crash.print_traceback(type(error), error, error.__traceback__)
            return OUR_ERROR
        return complain(f"unexpected {one_line(error)} (traceback in {keep_traceback(arguments)})", OUR_ERROR)


def system_fault(error: BaseException) -> str | None:
    """What the system refuses: a file by its name, its kind or its rights, or memory; None for another error."""
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
        return f"{clipped(error.filename)}: {os.strerror(error.errno)}"
    if "torch" in sys.modules:
        from longlag.workers.faults import is_out_of_memory

        return NO_MEMORY if is_out_of_memory(error) else None
    return NO_MEMORY if isinstance(error, MemoryError) else None


def debugging() -> bool:
    """Whether ``LONGLAG_DEBUG=1`` asks for every traceback."""
    return os.environ.get("LONGLAG_DEBUG") == "1"


def complain(sentence: str, code: int) -> int:
    """One line on stderr, without passwords."""
    print("error:", escape.line(masked(" ".join(sentence.split()))), file=sys.stderr)
    return code


def keep_traceback(arguments: Sequence[str]) -> Path:
    """Write the current exception to a file in the home's logs, or where no home can be made in a temporary folder."""
    from longlag.tracking.home import Home

    name = f"longlag-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    heading = f"longlag {shlex.join(arguments)}\n\n"
    try:
        return crash.keep_traceback(Home.open(home_named(arguments)).root / "logs", name, heading)
    except (OSError, UserError) as error:
        log.info("the traceback is not kept in the home: %s", error, exc_info=True)
        return crash.keep_traceback(Path(tempfile.mkdtemp(prefix="longlag-")), name, heading)


def home_named(arguments: Sequence[str]) -> str | None:
    """The folder that a command line gives as ``--home``; None where it gives none, or cannot be understood."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == "--home":
            return following
        if word.startswith("--home="):
            return word.partition("=")[2]
    return None


def refusal(error: Any, arguments: Sequence[str]) -> str:
    """What typer found wrong with a command line, with the nearest option where one was mistyped."""
    option = getattr(error, "option_name", None)
    context = getattr(error, "ctx", None)
    if option is not None and context is not None:
        known = [name for parameter in context.command.params for name in parameter.opts]
        command = context.command_path
        return f"there is no option {clipped(option)}{suggestion(option, known) or f' (`{command} --help` lists them)'}"
    sentence = shortened(error.format_message(), arguments).replace(". Did you mean", "; did you mean")
    return sentence[:1].lower() + sentence[1:]


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise, as Ctrl-C does. Outside of the main thread signals cannot be set: leave them."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, terminate)
    except ValueError:
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
