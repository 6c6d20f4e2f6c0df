"""``longlag list``: what there is."""

from __future__ import annotations

import json as json_
from typing import Any

import typer

from longlag import registry
from longlag.cli import options
from longlag.errors import UserError
from longlag.registry import Kind

HELP = "List tasks, cells, optimizers, probes, samplers, objectives, kernel targets or studies."
app = typer.Typer(help=HELP, no_args_is_help=False, rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        kinds = ", ".join(f"longlag list {kind}s" for kind in registry.KINDS)
        raise UserError(f"list what? {kinds} or longlag list studies")


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
    rows = [_with_options("cell", name) for name in registry.names("cell")]
    _show(rows, {"name": "cell", "about": "what it is", "options": "options", "from": "from"}, json)


@app.command()
def optimizers(json: options.Json = False) -> None:
    """List the installed optimizers, third parties' included."""
    rows = [_with_options("optimizer", name) for name in registry.names("optimizer")]
    _show(rows, {"name": "optimizer", "about": "what it is", "options": "options", "from": "from"}, json)


@app.command()
def probes(json: options.Json = False) -> None:
    """List the installed probes, third parties' included."""
    from longlag.spec import WhenSpec

    when = WhenSpec().moments()
    rows = []
    for name in dict.fromkeys([*when, *registry.names("probe")]):
        if name in registry.names("probe"):
            row = _component("probe", name)
            if "error" not in row:
                probe = registry.load("probe", name)
                row |= {"cost": probe.cost, "examples": probe.examples}
        else:  # of the whole network, measured by the training loop itself
            row = {"name": name, "from": registry.origin("probe", "jacobian")}
            row["about"] = str(WhenSpec.model_fields[name].description)
        rows.append({**row, "when": [str(moment) for moment in when.get(name, ())] or ["never"]})
    columns = {"name": "probe", "about": "what it measures", "cost": "cost", "when": "by default", "from": "from"}
    _show(rows, columns, json)


@app.command()
def samplers(json: options.Json = False) -> None:
    """List the installed samplers, third parties' included."""
    from importlib.util import find_spec

    rows = []
    for name in registry.names("sampler"):
        row = _with_options("sampler", name)
        if "error" not in row:
            needs = registry.load("sampler", name).needs
            row["needs"] = "" if needs is None or find_spec(needs[0]) else needs[1]
        rows.append(row)
    columns = {"name": "sampler", "about": "what it is", "options": "options", "needs": "needs", "from": "from"}
    _show(rows, columns, json)


@app.command()
def objectives(json: options.Json = False) -> None:
    """List the installed objectives, third parties' included."""
    rows = []
    for name in registry.names("objective"):
        row = _component("objective", name)
        if "error" not in row:
            row["direction"] = registry.load("objective", name).direction
        rows.append(row)
    _show(rows, {"name": "objective", "about": "what it is", "direction": "direction", "from": "from"}, json)


@app.command()
def targets(json: options.Json = False) -> None:
    """List the installed kernel targets, third parties' included."""
    rows = []
    for name in registry.names("target"):
        row: dict[str, Any] = {"name": name, "from": registry.origin("target", name)}
        try:
            target = registry.load("target", name)
        except UserError as error:
            rows.append({**row, "error": str(error)})
            continue
        chosen = "automatically" if target.automatic else "where a layer names it"
        rows.append({**row, "about": about(target), "devices": list(target.devices), "runs": chosen})
    columns = {"name": "target", "about": "what it is", "devices": "devices", "runs": "runs", "from": "from"}
    _show(rows, columns, json)


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


def _with_options(kind: Kind, name: str) -> dict[str, Any]:
    row = _component(kind, name)
    return row if "error" in row else {**row, "options": list(registry.load(kind, name).Options.model_fields)}


def about(definition: Any) -> str:
    """The first sentence of a docstring."""
    return " ".join((definition.__doc__ or "").strip().split("\n\n")[0].split())


def _show(rows: list[dict[str, Any]], columns: dict[str, str], json: bool) -> None:
    if json:
        typer.echo(json_.dumps(rows, indent=2))
        return
    from longlag.cli import display

    display.print_rows(rows, columns)
