"""``longlag horizon``: for every cell, the longest lag that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longlag.cli import execution, options
from longlag.cli.options import FIELDS
from longlag.errors import UserError, clipped

PAGE = "Data file, chart and page"


def horizon(
    task: Annotated[
        str | None,
        typer.Argument(help="A task; `longlag list tasks` lists them.", autocompletion=options.complete_task),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="Cells, separated by commas, such as 'lstm,{name: lstm, forget_bias: 0}'.",
            rich_help_panel=FIELDS,
            autocompletion=options.complete_cell,
        ),
    ] = None,
    updates: Annotated[int, typer.Option(min=1, help="The budget of each run.", rich_help_panel=FIELDS)] = 1500,
    parameters: Annotated[
        int, typer.Option(min=1, help="Every cell has the hidden size nearest to so many.", rich_help_panel=FIELDS)
    ] = 5000,
    runs: Annotated[
        int,
        typer.Option(
            "--seeds", min=1, help="Runs of a cell that count, each with a seed of its own.", rich_help_panel=FIELDS
        ),
    ] = 16,
    shortest: Annotated[int, typer.Option(min=1, help="Least lag looked at, steps.", rich_help_panel=FIELDS)] = 10,
    longest: Annotated[int, typer.Option(min=2, help="Greatest lag looked at.", rich_help_panel=FIELDS)] = 500,
    lag: Annotated[
        str, typer.Option(help="The task's option that is the lag.", rich_help_panel=FIELDS)
    ] = "task.length",
    lr: Annotated[
        str, typer.Option(help="Learning rates, of which each cell takes the best.", rich_help_panel=FIELDS)
    ] = "3e-3,1e-2,3e-2",
    set_: options.Set = None,
    name: Annotated[str | None, typer.Option(help="Of the study; made from the options if not given.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md",
            help="Where the page goes; data files and chart go into a folder of the same name beside it, and the page "
            "shows every study whose data file is there. The home's `reports` if not given.",
            rich_help_panel=PAGE,
        ),
    ] = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE.json",
            help="Make chart and page again from data files, without a run. Repeatable.",
            rich_help_panel=PAGE,
        ),
    ] = None,
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
    """Find the longest lag that each cell learns: the T at which half the seeds still solve the task.

    \b
      longlag horizon copy-memory --cell rnn,lstm,gru,urnn --set task.symbols=1
      longlag horizon adding --cell lstm,gru --updates 3000 --longest 1000 --page docs/horizon.md
      longlag horizon --from docs/horizon/adding.json --from docs/horizon/copy-memory.json --page docs/horizon.md

    At a fixed budget of updates and an equal parameter count, by an adaptive search over T (the psi method), which
    gives an interval with it. The learning rate of each cell is chosen beforehand, by a fixed rule. Asking again
    continues, and trains nothing that is done; more --seeds or another --cell add to what is there.
    """
    from longlag import specfile

    if from_:
        if task is not None or cell is not None:
            raise UserError("--from makes chart and page from data files: leave out the task and --cell")
        from longlag.cli import horizon_study

        horizon_study.rebuild(from_, page or Path("horizon.md"), json=json)
        return
    if task is None:
        raise UserError("which task? For example: longlag horizon copy-memory --cell lstm,gru (`longlag list tasks`)")
    if cell is None:
        raise UserError(
            f"which cells? For example: longlag horizon {clipped(task)} --cell lstm,gru (`longlag list cells`)"
        )

    from longlag.spec import require_for_fields

    require_for_fields({"task": task})
    execution.require(executor)
    from longlag.cli import horizon_study
    from longlag.workspace import Workspace

    fields = {
        "cells": specfile.parse(f"[{cell}]", "--cell"),
        "lag": lag,
        "shortest": shortest,
        "longest": longest,
        "parameters": parameters,
        "rates": specfile.parse(f"[{lr}]", "--lr"),
        "runs": runs,
    }
    spec = horizon_study.specified(task, updates, list(set_ or []), fields, name)
    how = execution.workers(workers, threads, checkpoint_seconds, executor, scheduler, resources)
    horizon_study.run(spec, Workspace.open(home, tracking_uri), how, page, json=json)
