"""``longlag reproduce``: a paper's comparison, run again, with a verdict on each of its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag.cli import execution, options
from longlag.errors import UserError

SCALES = ("paper", "cpu", "smoke")


def complete_paper(incomplete: str) -> list[str]:
    from longlag.papers.spec import names

    return [name for name in names() if name.startswith(incomplete)]


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(help="A paper study, or a YAML file of one.", autocompletion=complete_paper, metavar="PAPER"),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            help="paper: its own sizes; cpu: under an hour on two cores; smoke: a minute, judges nothing.",
            autocompletion=lambda: list(SCALES),
        ),
    ] = "cpu",
    list_: Annotated[bool, typer.Option("--list", help="Show the paper studies there are.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be run and what it costs, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Begin without asking.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(help="Also write the Markdown page, its pictures and the measurements into this folder."),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="Renew the table of the reports in docs/papers between the markers of this Markdown page."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Train a sample of a kept report's runs again, one after another, and say whether their numbers "
            "agree. PAPER is one of docs/papers, or a file of measurements. Exit code 1 where some differ.",
        ),
    ] = False,
    sample: Annotated[int, typer.Option(help="With --check: how many runs.", min=1, max=100_000)] = 5,
    workers: execution.WorkerCount = "auto",
    executor: execution.ExecutorName = "local",
    scheduler: execution.Scheduler = None,
    resources: execution.Resources = None,
    threads: execution.Threads = 1,
    checkpoint_seconds: execution.Checkpoints = 30.0,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Run a paper's comparison and say of each of its claims whether it is reproduced.

    \b
      longlag reproduce --list
      longlag reproduce arjovsky-2016 --scale smoke
      longlag reproduce arjovsky-2016 --scale cpu --workers 2
      longlag reproduce --check le-2015

    The plan and its cost are shown first. The same command continues, and trains nothing that is done.
    """
    execution.require(executor)
    from longlag.cli import papers

    if list_:
        papers.print_papers(json)
    elif summary is not None:
        papers.renew(summary)
    elif name is None:
        raise UserError("which paper? For example: longlag reproduce arjovsky-2016 (`longlag reproduce --list`)")
    elif check:
        from longlag.cli.paper_check import check as trained_again

        if not trained_again(name, scale, sample, threads, json=json):
            raise typer.Exit(1)
    else:
        how = execution.workers(workers, threads, checkpoint_seconds, executor, scheduler, resources)
        papers.reproduce(name, scale, home, tracking_uri, how, plan=plan, yes=yes, write=write, json=json)
