"""``longlag sweep``: a study, from a file, by name, or from options."""

from __future__ import annotations

import hashlib
import json as json_
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from longlag import registry
from longlag.cli import execution, options, studies
from longlag.cli.options import FIELDS, LOOP
from longlag.errors import UserError, clipped, quoted, suggestion

AXES = {
    "cell": "cell",
    "depth": "model.depth",
    "hidden_size": "model.hidden_size",
    "optimizer": "optimizer",
    "lr": "optimizer.lr",
}


def sweep(
    study: Annotated[
        str,
        typer.Argument(
            help="A YAML file, a built-in study, a study begun before, or a task.",
            autocompletion=options.complete_target,
            metavar="STUDY.yaml|STUDY|TASK",
        ),
    ],
    cell: Annotated[
        str | None,
        typer.Option(
            help="With a task: cells, separated by commas.",
            rich_help_panel=FIELDS,
            autocompletion=options.complete_cell,
        ),
    ] = None,
    depth: Annotated[str | None, typer.Option(help="Depths, such as 1,2.", rich_help_panel=FIELDS)] = None,
    hidden_size: Annotated[str | None, typer.Option(help="Sizes, such as 32,64.", rich_help_panel=FIELDS)] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="Optimizers, such as adam,rmsprop.",
            rich_help_panel=FIELDS,
            autocompletion=options.complete_optimizer,
        ),
    ] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rates, such as 1e-3,1e-2.", rich_help_panel=FIELDS)] = None,
    updates: Annotated[int | None, typer.Option(help="The budget of each run.", rich_help_panel=FIELDS)] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds that every point is run with, such as 0,1,2.", rich_help_panel=FIELDS)
    ] = None,
    set_: options.Set = None,
    trials: Annotated[
        int | None, typer.Option(help="Points to try; a grid has an end of its own.", rich_help_panel=LOOP)
    ] = None,
    total_updates: Annotated[
        int | None,
        typer.Option(help="No trial begins after so many updates of all runs together.", rich_help_panel=LOOP),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="No trial begins after so many hours of work.", rich_help_panel=LOOP)
    ] = None,
    enqueue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINT",
            help='A known point, tried first, such as "{cell: lstm, optimizer.lr: 1e-3}". Repeatable.',
            rich_help_panel=LOOP,
            show_default=False,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help="One or several; `longlag list objectives` lists them.",
            rich_help_panel=LOOP,
            autocompletion=options.complete_objective,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="A sampler; `longlag list samplers` lists them.",
            rich_help_panel=LOOP,
            autocompletion=options.complete_sampler,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the study; with a task, made from the options if not given.")
    ] = None,
    workers: execution.WorkerCount = "auto",
    executor: execution.ExecutorName = "local",
    scheduler: execution.Scheduler = None,
    resources: execution.Resources = None,
    threads: execution.Threads = 1,
    checkpoint_seconds: execution.Checkpoints = 30.0,
    heartbeat_seconds: execution.Heartbeat = None,
    json: options.Json = False,
    home: options.Home = None,
    tracking_uri: options.TrackingUri = None,
    storage: options.Storage = None,
) -> None:
    """Search over cells, depths, optimizers and any other field.

    \b
      longlag sweep quickstart
      longlag sweep study.yaml --set trials=50 --set training.updates=2000
      longlag sweep adding --cell rnn,lstm,gru --depth 1,2 --optimizer adam,rmsprop --trials 12
      longlag sweep adding --cell lstm,gru --sampler tpe --trials 30
                    --set "space.optimizer.lr={low: 1e-4, high: 1e-2, log: true}"

    The same command continues a study: what is finished is kept, and interrupted runs continue from their checkpoints.
    Ctrl-C once saves the runs and stops; twice stops at once.

    --set reaches the study's own fields (trials, seeds, space.PATH ...) and those of its base run (task.length ...).
    """
    from longlag import specfile
    from longlag.spec import load_study, read_by_study, require_for_fields

    execution.require(executor)
    given = {"cell": cell, "depth": depth, "hidden_size": hidden_size, "optimizer": optimizer, "lr": lr}
    axes = {AXES[key]: specfile.parse(f"[{text}]", option(key)) for key, text in given.items() if text is not None}
    settings = list(set_ or [])
    fields, is_task = find(study, home, storage)
    if axes and not is_task:
        used = ", ".join(option(key) for key, text in given.items() if text is not None)
        raise UserError(f"{used}: only with a task; to change a study, use --set, such as --set space.cell=[lstm]")
    _axes(fields, axes)
    _settings(fields, settings)
    base, space = section(fields, "base"), section(fields, "space")
    bounds = {"trials": trials, "total_updates": total_updates, "hours": hours}
    for path, value in {**bounds, "sampler.name": sampler, "base.training.updates": updates}.items():
        if value is not None:
            specfile.assign(fields, path, value)
    if objectives is not None:
        fields["objectives"] = specfile.parse(f"[{objectives}]", "--objectives")
    if enqueue:
        known = fields.get("enqueue") or []
        if not isinstance(known, list):
            raise UserError(f"enqueue: should be a list of points, not {quoted(known)}")
        fields["enqueue"] = [*known, *(specfile.parse(text, "--enqueue") for text in enqueue)]
    if seeds is not None:
        fields["seeds"] = specfile.parse(f"[{seeds}]", "--seeds")
    if is_task and "sampler" not in fields:
        fields["sampler"] = {"name": "grid"}
    if name is not None:
        fields["name"] = name
    elif is_task:
        fields["name"] = _name(study, fields)
    if is_task and "cell" not in base and "cell" not in space:
        raise UserError(
            f"which cells? For example: longlag sweep {clipped(study)} --cell rnn,lstm,gru (`longlag list cells`)"
        )
    require_for_fields(fields)
    spec = load_study(fields, study if not is_task else "sweep")

    from longlag.cli import execute, terminal
    from longlag.workspace import Workspace

    terminal.announce(read_by_study(spec))
    how = execution.workers(workers, threads, checkpoint_seconds, executor, scheduler, resources)
    execute.study(spec, Workspace.open(home, tracking_uri, storage), how, heartbeat_seconds, json=json)


def section(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """The base or the space of a study that nobody has validated yet.

    Raises:
        UserError: when it is no mapping.
    """
    found = fields.get(name) or {}
    if not isinstance(found, dict):
        raise UserError(f"{name}: should be a mapping of fields, not {quoted(found)}")
    return found


def option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def find(target: str, home: Path | None, storage: str | None = None) -> tuple[dict[str, Any], bool]:
    """The study's fields, and whether `target` was only the name of a task.

    Raises:
        UserError: when it is no file, study or task, naming the nearest.
    """
    from longlag import specfile

    if target in studies.names():
        value = specfile.parse(studies.text(target), target)
        return dict(value), False
    if target in registry.names("task"):
        return {"base": {"task": target}, "space": {}}, True
    path = Path(target)
    exists = os.path.exists(path)  # noqa: PTH110 (pathlib raises for a name that is too long)
    if path.suffix in (".yaml", ".yml", ".json") or exists:
        if not exists:
            near = suggestion(path.name, [entry.name for entry in path.parent.glob("*.y*ml")])
            raise UserError(
                f"there is no file {clipped(target)}{near or ' (`longlag list studies` lists the built-in ones)'}"
            )
        return specfile.read(path), False
    known = [*studies.names(), *registry.names("task")]
    begun = _begun(target, home, storage)
    if isinstance(begun, dict):
        return begun, False
    hint = suggestion(target, known + begun) or "; `longlag list studies` and `longlag list tasks` show them"
    raise UserError(f"there is no file, study or task named {quoted(target)}{hint}")


def _begun(name: str, home: Path | None, storage: str | None) -> dict[str, Any] | list[str]:
    """The fields of a study begun before under this home, or in this storage, or the names of those that were."""
    from longlag.cli.homes import studies_url

    url = studies_url(home, storage)
    if url is None:
        return []
    from longlag.study.store import StudyStore, names

    known = names(url)
    return StudyStore.stored(name, url).spec.model_dump(mode="json") if name in known else known


def _axes(fields: dict[str, Any], axes: dict[str, list[Any]]) -> None:
    """One value goes into the base, several make an axis, and so does what another axis would overwrite."""
    from longlag import specfile

    for path, values in axes.items():
        if len(values) == 1 and path.partition(".")[0] not in fields["space"]:
            specfile.assign(fields["base"], path, values[0])
            fields["base"] = dict(fields["base"])
        else:
            fields["space"][path] = values


def _settings(fields: dict[str, Any], settings: list[str]) -> None:
    """Apply every ``path=value``: a run's field is set in the base, an axis as a whole."""
    from longlag import specfile
    from longlag.spec import RunSpec

    for setting in settings:
        path, equals, text = setting.partition("=")
        first, _, rest = path.partition(".")
        if first == "space" and rest and equals:
            fields["space"] = {**section(fields, "space"), rest: specfile.parse(text, f"--set {path}")}
            continue
        if first in RunSpec.model_fields and first != "seed":
            for axis in section(fields, "space"):
                if path == axis or path.startswith(f"{axis}."):
                    raise UserError(f"--set {path}: the study varies {quoted(axis)}; set space.{axis} instead")
            setting = f"base.{setting}"
        fields.update(specfile.override(fields, [setting]))


def _name(task: str, fields: dict[str, Any]) -> str:
    """The same options give the same name, so that the same command continues its study."""
    what = json_.dumps([fields.get(key) for key in ("base", "space", "seeds")], sort_keys=True, default=str)
    return f"{task}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
