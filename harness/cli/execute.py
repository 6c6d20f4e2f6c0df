"""What `run` and `sweep` do once they know what is asked. Imports everything heavy; the commands import it late."""

from __future__ import annotations

import json as json_
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from harness.cli import display
from harness.cli.errors import stoppable
from harness.cli.progress import RunProgress, SweepProgress
from harness.search import relation
from harness.search.cluster import Dask
from harness.search.importance import as_json, importances
from harness.search.result import StudyResult
from harness.search.runner import NOTE, RUNS, Place, check, execute, open_home, torch_threads
from harness.search.stopping import graceful
from harness.search.study import sweep
from harness.search.trouble import clear
from harness.spec import RunSpec, StudySpec
from harness.tracking.home import Home
from harness.tracking.store import Store

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
        clear(opened.root),
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
            listeners=[progress],
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
            watchers=[progress],
        )
    with clear(opened.root):
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
