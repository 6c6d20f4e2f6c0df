"""``longlag list``: what there is."""

from __future__ import annotations

import json as json_
from typing import Any

import typer

from longlag import registry
from longlag.cli import options
from longlag.errors import UserError
from longlag.registry import Kind

app = typer.Typer(help="List tasks, cells or studies.", no_args_is_help=False, rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise UserError("list what? longlag list tasks, longlag list cells or longlag list studies")


@app.command()
def tasks(json: options.Json = False) -> None:
    """List the installed tasks, third parties' included."""
    rows = []
    for name in registry.names("task"):
        row = _component("task", name)
        if "error" not in row:
            task = registry.load("task", name)()
            row |= {"mapping": task.mapping.value, "solved": task.criterion, "metric": task.metrics[0].name}
            if json:  # recordings may have to be read for it
                row |= _baseline(task)
        rows.append(row)
    columns = {"name": "task", "mapping": "mapping", "about": "what it asks", "solved": "solved when", "from": "from"}
    _show(rows, columns, json)


@app.command()
def cells(json: options.Json = False) -> None:
    """List the installed cells, third parties' included."""
    rows = []
    for name in registry.names("cell"):
        row = _component("cell", name)
        if "error" not in row:
            row["options"] = list(registry.load("cell", name).Options.model_fields)
        rows.append(row)
    _show(rows, {"name": "cell", "about": "what it is", "options": "options", "from": "from"}, json)


@app.command()
def studies(json: options.Json = False, home: options.Home = None, storage: options.Storage = None) -> None:
    """List the built-in studies, and those begun under this home or in this storage."""
    from longlag.cli.homes import studies as known

    columns = {"name": "study", "about": "what it asks", "trials": "trials", "from": "from"}
    _show(known(home, storage), columns, json)


def _baseline(task: Any) -> dict[str, Any]:
    """The trivial predictor's score, or what the task needs before it can tell."""
    try:
        return {"baseline": task.baseline().value}
    except UserError as error:
        return {"baseline": None, "needs": str(error)}


def _component(kind: Kind, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "from": registry.origin(kind, name)}
    try:
        definition = registry.load(kind, name)
    except UserError as error:
        return {**row, "error": str(error)}
    return {**row, "about": about(definition), "version": definition.version}


def about(definition: Any) -> str:
    """The first sentence of a docstring."""
    return " ".join((definition.__doc__ or "").strip().split("\n\n")[0].split())


def _show(rows: list[dict[str, Any]], columns: dict[str, str], json: bool) -> None:
    if json:
        typer.echo(json_.dumps(rows, indent=2))
        return
    from longlag.cli import display

    display.print_rows(rows, columns)
