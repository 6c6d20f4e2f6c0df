"""``longlag list``: what there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import typer

from longlag import registry
from longlag.cli import options
from longlag.errors import UserError, one_line
from longlag.log import log
from longlag.registry import Kind

HELP = "List tasks, cells, optimizers, probes, samplers, objectives, kernel targets, executors or studies."
app = typer.Typer(help=HELP, no_args_is_help=False, rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        kinds = ", ".join(f"longlag list {kind}s" for kind in registry.KINDS)
        raise UserError(f"list what? {kinds} or longlag list studies")


@app.command()
def tasks(json: options.Json = False) -> None:
    """List the installed tasks, third parties' included."""
    columns = {"name": "task", "mapping": "mapping", "about": "what it asks", "solved": "solved when", "from": "from"}
    _show(_rows("task", _task), columns, json)


@app.command()
def cells(json: options.Json = False) -> None:
    """List the installed cells, third parties' included."""
    columns = {"name": "cell", "about": "what it is", "options": "options", "from": "from"}
    _show(_rows("cell", _options), columns, json)


@app.command()
def optimizers(json: options.Json = False) -> None:
    """List the installed optimizers, third parties' included."""
    columns = {"name": "optimizer", "about": "what it is", "options": "options", "from": "from"}
    _show(_rows("optimizer", _options), columns, json)


@app.command()
def probes(json: options.Json = False) -> None:
    """List the installed probes, third parties' included."""
    from longlag.spec import WhenSpec

    when = WhenSpec().moments()
    found = _rows("probe", lambda probe: {"cost": probe.cost, "examples": probe.examples, "version": probe.version})
    own: list[dict[str, Any]] = [
        {
            "name": name,
            "from": registry.origin("probe", "jacobian"),
            "about": str(WhenSpec.model_fields[name].description),
        }
        for name in registry.NETWORK_PROBES
    ]
    order = [*when, *(row["name"] for row in found)]
    rows = [
        row if "error" in row else {**row, "when": [str(moment) for moment in when.get(row["name"], ())] or ["never"]}
        for row in sorted([*own, *found], key=lambda row: order.index(row["name"]))
    ]
    columns = {"name": "probe", "about": "what it measures", "cost": "cost", "when": "by default", "from": "from"}
    _show(rows, columns, json)


@app.command()
def samplers(json: options.Json = False) -> None:
    """List the installed samplers, third parties' included."""
    columns = {"name": "sampler", "about": "what it is", "options": "options", "from": "from"}
    _show(_rows("sampler", lambda sampler: {**_options(sampler), **_needs(sampler)}), columns, json)


@app.command()
def objectives(json: options.Json = False) -> None:
    """List the installed objectives, third parties' included."""
    columns = {"name": "objective", "about": "what it is", "direction": "direction", "from": "from"}
    _show(
        _rows("objective", lambda objective: {"version": objective.version, "direction": objective.direction}),
        columns,
        json,
    )


@app.command()
def targets(json: options.Json = False) -> None:
    """List the installed kernel targets, third parties' included."""
    columns = {"name": "target", "about": "what it is", "devices": "devices", "runs": "runs", "from": "from"}
    _show(_rows("target", _target), columns, json)


@app.command()
def executors(json: options.Json = False) -> None:
    """List the installed executors, which launch the workers of a sweep, third parties' included."""
    columns = {"name": "executor", "about": "where workers run", "settings": "settings", "from": "from"}
    _show(_rows("executor", lambda executor: {"settings": [field.name for field in fields(executor)]}), columns, json)


@app.command()
def studies(json: options.Json = False, home: options.Home = None, storage: options.Storage = None) -> None:
    """List the built-in studies, and those begun under this home or in this storage."""
    from longlag.cli.homes import studies as known

    columns = {"name": "study", "about": "what it asks", "trials": "trials", "from": "from"}
    _show(known(home, storage), columns, json)


def _rows(kind: Kind, facts: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each component of a kind. Where a plug-in fails, its row says why."""
    rows = []
    for name in registry.names(kind):
        row: dict[str, Any] = {"name": name, "from": registry.origin(kind, name)}
        try:
            definition = registry.load(kind, name)
            row |= {"about": about(definition), **facts(definition)}
        except Exception as error:  # a plug-in may be broken in any way
            row["error"] = one_line(error)
            log.info("%s %r cannot be used: %s", kind, name, error, exc_info=True)
        rows.append(row)
    return rows


def _task(definition: Any) -> dict[str, Any]:
    """Without its data: reading them may take seconds, or a package that is not installed."""
    task = definition()
    facts = {"version": task.version, "mapping": task.mapping.value, "solved": task.criterion}
    return {**facts, "metric": task.metrics[0].name, **_needs(task)}


def _options(definition: Any) -> dict[str, Any]:
    return {"version": definition.version, "options": list(definition.Options.model_fields)}


def _target(target: Any) -> dict[str, Any]:
    chosen = "automatically" if target.automatic else "where a layer names it"
    return {"devices": list(target.devices), "runs": chosen}


def _needs(component: Any) -> dict[str, Any]:
    """What installs the package that is missing; None where none is."""
    return {"needs": next((package.command for package in component.needs if not package.installed), None)}


def about(definition: Any) -> str:
    """The first sentence of a docstring."""
    return " ".join((definition.__doc__ or "").strip().split("\n\n")[0].split())


def _show(rows: list[dict[str, Any]], columns: dict[str, str], json: bool) -> None:
    from longlag.cli import terminal

    if json:
        terminal.print_json(rows)
        return

    terminal.print_rows(rows, columns)
