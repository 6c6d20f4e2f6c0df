"""``longlag run``: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from longlag.cli import execution, options
from longlag.cli.options import FIELDS, LOOP

FROM_OPTIONS = {
    "cell": "cell",
    "hidden_size": "model.hidden_size",
    "depth": "model.depth",
    "optimizer": "optimizer",
    "lr": "optimizer.lr",
    "updates": "training.updates",
    "batch_size": "training.batch_size",
    "device": "training.device",
    "seed": "seed",
}


def run(
    task: Annotated[
        str | None,
        typer.Argument(help="A task; `longlag list tasks` lists them.", autocompletion=options.complete_task),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(
            help="A cell; `longlag list cells` lists them.",
            rich_help_panel=FIELDS,
            autocompletion=options.complete_cell,
        ),
    ] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Units of every layer.", rich_help_panel=FIELDS)] = None,
    depth: Annotated[int | None, typer.Option(help="Layers on top of each other.", rich_help_panel=FIELDS)] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="An optimizer; `longlag list optimizers` lists them.",
            rich_help_panel=FIELDS,
            autocompletion=options.complete_optimizer,
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=FIELDS)] = None,
    updates: Annotated[int | None, typer.Option(help="The budget.", rich_help_panel=FIELDS)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences an update.", rich_help_panel=FIELDS)] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.", rich_help_panel=FIELDS)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 or mps.", rich_help_panel=FIELDS)] = None,
    set_: options.Set = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            "--spec",
            help="A YAML file with a run's fields (`longlag schema run`); options override it.",
            rich_help_panel=FIELDS,
        ),
    ] = None,
    threads: execution.Threads = 1,
    checkpoint_seconds: execution.Checkpoints = 30.0,
    force: Annotated[
        bool, typer.Option("--force", help="Train even if the same run has finished before.", rich_help_panel=LOOP)
    ] = False,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
) -> None:
    """Train one run and record it.

    \b
      longlag run adding --cell lstm
      longlag run adding --cell gru --depth 2 --lr 0.002 --set task.length=200 --set clip.norm=1
      longlag run copy-memory --cell "{name: lstm, forget_bias: 3}" --updates 2000
      longlag run --spec run.yaml --seed 1

    A run that finished before is not trained again: its result is shown.
    """
    given = {"cell": cell, "hidden_size": hidden_size, "depth": depth, "optimizer": optimizer, "lr": lr}
    given |= {"updates": updates, "batch_size": batch_size, "device": device, "seed": seed}
    fields = fields_of(task, spec, given, set_ or [])

    from longlag.spec import load_run, read_by_run, require_for_fields

    require_for_fields(fields)
    checked = load_run(fields, "run" if spec is None else str(spec))

    from longlag.cli import execute, terminal
    from longlag.workspace import Workspace

    terminal.announce(read_by_run(checked))
    workspace = Workspace.open(home, tracking_uri)
    execute.one_run(checked, workspace, threads=threads, checkpoint_seconds=checkpoint_seconds, force=force, json=json)


def fields_of(task: str | None, file: Path | None, given: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    """A run's fields from the file, the task and the options, in this order."""
    from longlag import specfile
    from longlag.errors import UserError

    data: dict[str, Any] = {} if file is None else specfile.read(file)
    if task is not None:
        specfile.assign(data, "task", task)
    for option, path in FROM_OPTIONS.items():
        value = given[option]
        if value is not None:
            specfile.assign(data, path, specfile.parse(value, "--cell") if option == "cell" else value)
    data = specfile.override(data, settings)
    if "task" not in data:
        raise UserError(
            "which task? `longlag list tasks` lists them; then, for example: longlag run adding --cell lstm"
        )
    if "cell" not in data:
        raise UserError("which cell? `longlag list cells` lists them; then, for example: --cell lstm")
    return data
