"""Options and arguments that several commands have, and how the shell completes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag import registry
from longlag.cli import studies
from longlag.packages import PSYCOPG


def complete_task(incomplete: str) -> list[str]:
    return [name for name in registry.names("task") if name.startswith(incomplete)]


def complete_cell(incomplete: str) -> list[str]:
    """The last of a comma-separated list."""
    return _last_of(incomplete, registry.names("cell"))


def complete_optimizer(incomplete: str) -> list[str]:
    return _last_of(incomplete, registry.names("optimizer"))


def complete_objective(incomplete: str) -> list[str]:
    return _last_of(incomplete, registry.names("objective"))


def complete_sampler(incomplete: str) -> list[str]:
    return [name for name in registry.names("sampler") if name.startswith(incomplete)]


def complete_study(incomplete: str) -> list[str]:
    return [name for name in studies.names() if name.startswith(incomplete)]


def complete_target(incomplete: str) -> list[str]:
    """What `sweep` takes: studies, tasks and files."""
    files = [str(path) for pattern in ("*.yaml", "*.yml") for path in Path().glob(pattern)]
    return [name for name in [*studies.names(), *registry.names("task"), *files] if name.startswith(incomplete)]


def complete_name(incomplete: str) -> list[str]:
    known = [*(name for kind in registry.KINDS for name in registry.names(kind)), *studies.names()]
    return [name for name in known if name.startswith(incomplete)]


def _last_of(incomplete: str, known: list[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in known if name.startswith(last)]


WHERE, FIELDS, LOOP = "Where the results are kept", "What is run", "How it is run"

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="LONGLAG_HOME",
        help="Folder of all results. [dim]Default: ./longlag-home[/dim]",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="LONGLAG_TRACKING_URI",
        help="An MLflow server, such as http://localhost:5000, instead of the home's own store.",
        rich_help_panel=WHERE,
        show_default=False,
    ),
]


def _with_driver(storage: str | None) -> str | None:
    """Report a missing driver before anything is imported that takes seconds."""
    if storage is not None and storage.startswith("postgres"):
        PSYCOPG.require()
    return storage


Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="LONGLAG_STORAGE",
        help="Where studies are kept, such as postgresql://user@host/database, so that many machines work on one; "
        "instead of the home's own.",
        callback=_with_driver,
        rich_help_panel=WHERE,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs to read.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Set any field, such as task.length=500 or clip.norm=1; values are YAML. Repeatable.",
        rich_help_panel=FIELDS,
        show_default=False,
    ),
]
