"""What `longlag horizon` does once it knows what is asked. Imports everything heavy; the command imports it late."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from longlag import escape, registry, specfile
from longlag.cli import terminal
from longlag.cli.errors import stoppable
from longlag.cli.progress import Progress
from longlag.errors import UserError
from longlag.horizons import chart, page
from longlag.horizons.measurements import HorizonMeasurements, read
from longlag.horizons.spec import HorizonSpec, load_horizon
from longlag.horizons.study import horizon
from longlag.parts import Parts
from longlag.spec import RunSpec, read_by_run
from longlag.study.callback import StudyCallback
from longlag.study.queue import Workers
from longlag.tracking import study_run
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.workspace import Workspace

WHEN_STOPPED = "what is finished is kept, running runs are saved, and the same command continues"


def specified(
    task: str, updates: int, settings: Sequence[str], fields: dict[str, Any], name: str | None
) -> HorizonSpec:
    """The study that the options describe.

    Raises:
        UserError: for an option that is wrong.
    """
    registry.load("task", task)
    for path in (fields["lag"], "optimizer.lr", "model.hidden_size", "cell", "seed"):
        if any(setting.partition("=")[0] == path for setting in settings):
            option = {"optimizer.lr": "--lr", "model.hidden_size": "--parameters", "cell": "--cell", "seed": "--seeds"}
            raise UserError(
                f"--set {path}: a horizon study chooses it; see {option.get(path, '--shortest and --longest')}"
            )
    base = specfile.override({"task": {"name": task}, "training": {"updates": updates}}, settings)
    return load_horizon({**fields, "base": base} | ({} if name is None else {"name": name}))


def run(spec: HorizonSpec, workspace: Workspace, workers: Workers, where: Path | None, *, json: bool) -> None:
    terminal.announce(read_by_run(spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0)))
    with stoppable(WHEN_STOPPED), HorizonProgress(spec) as progress:
        measurements, store = horizon(spec, workspace, workers, callbacks=[progress])
    target = where or workspace.home.root / "reports" / f"{spec.name}.md"
    beside = target.with_suffix("")
    own = beside / f"{measurements.task if where else spec.name}.json"
    measurements.write(own)
    parts = Parts()
    found = {file: parts.make(f"the section on {file}", partial(read, file)) for file in sorted(beside.glob("*.json"))}
    publish({file: study for file, study in found.items() if study is not None}, target, parts)
    parts.make(
        "the copy in the tracking store", lambda: _attach(measurements, spec.name, store, (own, _chart(target), target))
    )
    summarise([measurements], target, parts, json=json)


def _attach(measurements: HorizonMeasurements, name: str, store: Store, files: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            if file.exists():
                shutil.copy(file, folder)
        study_run.attach(store, store.experiment_id(name), measurements.identity, Path(folder), {})


def rebuild(files: Sequence[Path], target: Path, *, json: bool) -> None:
    """Chart and page from data files alone."""
    studies, parts = {file: read(file) for file in files}, Parts()
    publish(studies, target, parts)
    summarise(list(studies.values()), target, parts, json=json)


def publish(studies: Mapping[Path, HorizonMeasurements], target: Path, parts: Parts) -> None:
    """Write the page at `target`, and its chart into the folder of the same name."""
    picture = _chart(target)
    drawn = parts.make("the chart", lambda: chart.draw(list(studies.values()), picture))
    parts.make("the page", lambda: page.write(studies, target, picture if drawn else None, parts))


def _chart(target: Path) -> Path:
    return target.with_suffix("") / "chart.png"


def summarise(studies: Sequence[HorizonMeasurements], target: Path, parts: Parts, *, json: bool) -> None:
    """Print what was found, where its page is, and what could not be made."""
    if json:
        found = [
            {
                "task": measurements.task,
                "identity": measurements.identity,
                "cells": [
                    {"cell": cell.cell, **asdict(fit), "gradient_horizon": (cell.gradient_horizon() or (None,))[0]}
                    for cell, fit in measurements.by_horizon()
                ],
            }
            for measurements in studies
        ]
        terminal.print_json({"page": str(target), "studies": found, "missing": parts.failed})
        return
    for measurements in studies:
        parts.make(f"the table of {measurements.task}", partial(_print, measurements))
    for sentence in parts.failed:
        terminal.say(escape.line(sentence))
    terminal.say(f"page: {target}, with its chart and data in {target.with_suffix('')}")


def _print(measurements: HorizonMeasurements) -> None:
    terminal.console().print(table(measurements))


def table(measurements: HorizonMeasurements) -> Table:
    """One study, a row a cell."""
    rows = Table(title=f"{measurements.task}: T50, the lag at which half the seeds solve it", box=box.SIMPLE)
    for column in (
        "cell",
        "T50",
        "95% interval",
        "gradient horizon",
        "lr",
        "units",
        "solved",
        "updates to solve",
        "CPU",
    ):
        rows.add_column(column, justify="left" if column == "cell" else "right")
    for cell, fit in measurements.by_horizon():
        updates = cell.updates_to_solve()
        rows.add_row(
            cell.cell,
            page.t50(fit, measurements),
            page.interval(fit, measurements),
            page.gradient(cell),
            f"{cell.rate:g}",
            str(cell.hidden_size),
            f"{sum(run.solved for run in cell.counted)} of {len(cell.counted)}",
            "–" if updates is None else f"{updates:,.0f}",
            terminal.duration(cell.seconds()),
        )
    return rows


class HorizonProgress(Progress):
    """A line for every run that ends; in a terminal also the run of each worker."""

    def __init__(self, study: HorizonSpec) -> None:
        super().__init__(terminal.errors())
        self.study = study
        self.slots: dict[int, _Slot] = {}
        self.trained = 0
        most = len(study.cells) * (study.runs + len(study.rates) * len(study.ladder()))
        self.line(
            f"study {study.name}: {len(study.cells)} cells, {study.runs} counted runs each, at most {most} runs in all"
        )

    def worker(self, index: int) -> StudyCallback:
        return self.slots.setdefault(index, _Slot(self))

    def worker_died(self, index: int, how: str) -> None:
        self.line(f"worker {index + 1} died ({how}); its run continues from its checkpoint")

    def ended(self, result: RunResult) -> None:
        self.trained += 1
        at = f"solved at update {result.solved_at}" if result.solved else result.outcome
        self.line(f"[{self.trained}] {_about(result.spec, self.study)}: {at}, {terminal.duration(result.wall_seconds)}")

    def render(self) -> RenderableType:
        return Group(*(slot.run_line() for _, slot in sorted(self.slots.items())))


class _Slot(Progress):
    """The run of one worker."""

    def __init__(self, whole: HorizonProgress) -> None:
        super().__init__(whole.console)
        self.whole = whole

    def evaluated(self, update: int, metrics: Any, score: float) -> None:
        self.score = score

    def state(self) -> str:
        return "" if self.spec is None else f"{_about(self.spec, self.whole.study)}: {super().state()}"

    def finished(self, result: RunResult) -> None:
        super().finished(result)
        self.whole.ended(result)

    def worker_died(self, index: int, how: str) -> None:
        self.whole.worker_died(index, how)


def _about(spec: RunSpec, study: HorizonSpec) -> str:
    lag = spec.task.options.get(study.lag.partition(".")[2])
    return f"{spec.cell.name}, T = {lag}, lr {spec.optimizer.lr:g}, seed {spec.seed}"
