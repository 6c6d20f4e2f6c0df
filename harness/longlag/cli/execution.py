"""Options that say how runs are executed: workers, threads, checkpoints, and the executor that places workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from longlag.cli.options import LOOP
from longlag.errors import UserError, quoted
from longlag.packages import DISTRIBUTED

if TYPE_CHECKING:
    from longlag.study.queue import Workers
    from longlag.workers.launchers import Executor

MOST = 1024
"""Threads of a worker, or workers: no machine has more processors to spare."""
YEAR = 365 * 24 * 3600

Threads = Annotated[
    int,
    typer.Option("--threads", min=1, max=MOST, help="Threads of torch; one is often fastest.", rich_help_panel=LOOP),
]
WorkerCount = Annotated[
    str,
    typer.Option(
        "--workers",
        envvar="LONGLAG_WORKERS",
        metavar="N|auto",
        help="Processes that run trials side by side; auto: one a core. A run's numbers do not depend on it.",
        rich_help_panel=LOOP,
    ),
]
Checkpoints = Annotated[
    float,
    typer.Option(
        "--checkpoint-seconds",
        min=0,
        max=YEAR,
        help="Seconds between two checkpoints; a killed run continues from the last one.",
        rich_help_panel=LOOP,
    ),
]
Heartbeat = Annotated[
    int | None,
    typer.Option(
        "--heartbeat-seconds",
        min=1,
        max=YEAR,
        help="Seconds between two signs of life of a trial; after three missed ones another machine takes it "
        "over. Kept with the study. [dim]Default: 60[/dim]",
        rich_help_panel=LOOP,
        show_default=False,
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where workers run: local, dask, or a mapping with a name and settings.",
        rich_help_panel=LOOP,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        envvar="LONGLAG_SCHEDULER",
        help="With dask: its address, such as tcp://host:8786, or the path of its scheduler file.",
        rich_help_panel=LOOP,
    ),
]
Resources = Annotated[
    str | None,
    typer.Option(
        "--resources",
        metavar="NAME=N,…",
        help="With dask: what each worker takes of what Dask's workers were started with, such as GPU=1.",
        rich_help_panel=LOOP,
    ),
]


def require(executor: str) -> None:
    """Report a missing package of the executor before anything is imported that takes seconds."""
    if executor == "dask":
        DISTRIBUTED.require()


def workers(
    count: str,
    threads: int,
    checkpoint_seconds: float,
    executor: str,
    scheduler: str | None,
    resources: str | None,
) -> Workers:
    """How many workers, and where, from the options.

    Raises:
        UserError: for an option that is wrong.
    """
    from longlag.study.queue import Workers

    return Workers(_count(count), threads, checkpoint_seconds, _executor(executor, scheduler, resources))


def _count(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not text.isdecimal() or len(text) > len(str(MOST)) or not 1 <= int(text) <= MOST:
        raise UserError(f"--workers: should be a number from 1 to {MOST}, or auto, not {quoted(text)}")
    return int(text)


def _executor(given: str, scheduler: str | None, resources: str | None) -> Executor:
    """Where workers run: a name, or a mapping with a name and settings."""
    from longlag import specfile
    from longlag.workers import launchers

    fields = specfile.parse(given, "--executor")
    fields = dict(fields) if isinstance(fields, dict) else {"name": fields}
    if fields.get("name") == "dask":
        fields |= {} if scheduler is None else {"scheduler": scheduler}
        if "scheduler" not in fields:
            raise UserError(
                "--executor dask: which cluster? Give --scheduler, such as tcp://host:8786 (docs/scaling.md)"
            )
        fields |= {} if resources is None else {"resources": _resources(resources)}
    elif resources is not None:
        raise UserError("--resources: only with --executor dask")
    return launchers.executor(fields)


def _resources(text: str) -> dict[str, float]:
    taken: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            if part.strip():
                taken[name.strip()] = float(number)
        except ValueError:
            raise UserError(f"--resources: should be NAME=NUMBER,…, such as GPU=1, not {quoted(text)}") from None
    return taken
