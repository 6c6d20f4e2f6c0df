"""What `run` and `sweep` do once they know what is asked. Imports everything heavy; the commands import it late."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from longlag.analysis import relation
from longlag.analysis.importance import as_json, importances
from longlag.cli import display
from longlag.cli.errors import stoppable
from longlag.cli.progress import RunProgress, SweepProgress
from longlag.spec import RunSpec, StudySpec
from longlag.study.faults import translate_errors
from longlag.study.result import StudyResult
from longlag.study.sweep import sweep
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.environment import torch_threads
from longlag.workers.cluster import Dask
from longlag.workers.runner import NOTE, RUNS, Place, check, execute, open_home
from longlag.workers.stopping import graceful

AGAIN = "the same command goes on from the last checkpoint"


@dataclass(frozen=True)
class How:
    """How the work is done; none of it changes a run's numbers but the threads, in their last bits."""

    workers: int | Literal["auto"]
    threads: int
    checkpoint_seconds: float
    storage: str | None = None
    heartbeat_seconds: int | None = None
    executor: Dask | None = None


def one_run(spec: RunSpec, home: Path | None, tracking_uri: str | None, how: How, *, force: bool, json: bool) -> None:
    check(spec)
    opened = open_home(home)
    store = Store.open(opened, tracking_uri)
    place = Place(store.experiment(RUNS, NOTE))
    with (
        translate_errors(opened.root),
        stoppable(AGAIN),
        torch_threads(how.threads),
        graceful() as stop,
        RunProgress(spec) as progress,
    ):
        done = execute(
            spec,
            store,
            opened,
            place,
            force=force,
            callbacks=[progress],
            interrupted=stop,
            checkpoint_seconds=how.checkpoint_seconds,
        )
    if json:
        where = {"run_id": done.run_id, "experiment": done.experiment, "tracking_uri": store.uri}
        fields = {**done.result.model_dump(mode="json"), **where, "trained": done.trained}
        typer.echo(json_.dumps(fields, indent=2))
        return
    typer.echo("\n".join(display.run_lines(done, opened, store.uri)))


def study(spec: StudySpec, home: Path | None, tracking_uri: str | None, how: How, *, json: bool) -> None:
    opened = open_home(home)
    kept = "what is finished is kept, the trial in hand was put back, and the same command continues the study"
    with stoppable(kept), SweepProgress() as progress:
        result = sweep(
            spec,
            home=opened,
            tracking_uri=tracking_uri,
            storage=how.storage,
            threads=how.threads,
            workers=how.workers,
            executor=how.executor,
            checkpoint_seconds=how.checkpoint_seconds,
            heartbeat_seconds=how.heartbeat_seconds,
            callbacks=[progress],
        )
    with translate_errors(opened.root):
        print_study(result, opened, json)
    if result.failed:
        raise typer.Exit(1)


def print_study(
    result: StudyResult, home: Home, json: bool, pictures: Path | None = None, importance: bool = False
) -> None:
    """The study as it stands, which axes matter, how well gradient flow says who learns, the pictures of a folder."""
    folder = pictures or home.reports / result.spec.name
    drawn = sorted(folder.glob("*.p??")) if folder.is_dir() else []
    relations = relation.relate(result)
    found = importances(result) if importance else []
    if json:
        fields = {**result.model_dump(mode="json"), "remaining": result.remaining}
        fields |= {"relations": relation.as_json(relations), "pictures": [str(path) for path in drawn]}
        if importance:
            fields["importance"] = as_json(found)
        typer.echo(json_.dumps(fields, indent=2))
        return
    display.print_study(result, home, relations, drawn, found)
