"""Numbers, words and tables for the terminal."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from longlag import escape

READS = 20  # files that are named
WIDTH = 160  # of tables that go into a file or a pipe


STDOUT: ContextVar[TextIO | None] = ContextVar("STDOUT", default=None)
"""Standard output while it is kept for JSON."""


@contextmanager
def json_alone() -> Iterator[None]:
    """Keep standard output for `print_json`: what anything else prints, such as a plug-in, goes to standard error."""
    token = STDOUT.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        STDOUT.reset(token)


def print_json(content: Any) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(content, indent=2), file=STDOUT.get() or sys.stdout)


def json_number(value: float) -> float | str | None:
    """A number as JSON can hold it: null in place of NaN, text in place of an infinity, as in a run's result."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def print_file(text: str) -> None:
    """Print the text of a file to standard output, as it is."""
    typer.echo(text, file=STDOUT.get() or sys.stdout, nl=False)


class Literal(Console):
    """Shows strings as they are: no markup such as ``[red]``, no codes such as ``:smile:``, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(escape.lines(text), **how)


def console() -> Console:
    """Standard output; a pipe is not cut at 80 columns."""
    return Literal(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False)


def errors() -> Console:
    """Standard error, for progress."""
    return Literal(stderr=True)


def styled(text: object, style: str) -> Text:
    """A string in a style of its own."""
    return Text(escape.lines(text), style)


def say(text: str) -> None:
    """Print lines."""
    typer.echo(escape.lines(text))


def command() -> str:
    """How longlag was called, for the next command to type: its name, or its path where the name alone finds none."""
    called = Path(sys.argv[0])
    return "longlag" if called.name != "longlag" or shutil.which("longlag") else str(called)


def announce(reads: Sequence[str]) -> None:
    """One line on stderr with what a spec reads: it may come from somebody else."""
    if reads:
        more = f" and {len(reads) - READS} more" if len(reads) > READS else ""
        print(f"reads {', '.join(map(escape.line, reads[:READS]))}{more}", file=sys.stderr)


def number(value: float) -> str:
    """Three figures, and no more letters than needed."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3g}"


def share(score: float) -> str:
    """A score as a share of the trivial predictor's."""
    return number(score) if not math.isfinite(score) else f"{100 * score:.3g} %"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def value(given: Any) -> str:
    from longlag.spec import label

    return f"{given:.4g}" if isinstance(given, float) else escape.line(label(given))


# -- one run ----------------------------------------------------------------------------------------------------------


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """A table of mappings; a row shows its ``error`` in place of the rest, and what it ``needs``."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key, title in columns.items():
        table.add_column(title, overflow="fold", no_wrap=key == "name")
    for row in rows:
        shown = []
        for key in columns:
            entry = row.get(key, row.get("error", "") if key == "about" else "")
            text = ", ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
            shown.append(f"{text}\nneeds: {row['needs']}" if key == "about" and row.get("needs") else text)
        table.add_row(*shown)
    console().print(table)
