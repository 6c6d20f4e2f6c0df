"""How fast MLflow's pages are with a full store: ``python -m benchmarks.ui``.

A study of 200 runs of 2,000 updates is written through the tracking code of real runs, without their training: one
short run a cell (copy memory over 500 steps) is trained and listened to, and what it told is told again for every
run, each value and curve times a random factor, on the schedule of the long run. The pages are then opened in a
headless Chromium, each anew.

    page s       median of three loads, from the address to the first line of a chart or the text that the page is about
    server s     in the last of them, how long an answer of MLflow's API was waited for; the rest is the browser's work
    request s    the slowest single request of all
    MB           what the server sent in a load

Three stores: one run a cell, which shows what MLflow itself takes; all runs in ten studies, of which one is opened; all
runs in one study, the hardest case. Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.timing import machine
from longlag.probes import Curve
from longlag.spec import RunSpec, load_run
from longlag.tracking import study_run
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.tracking.ui import address, curve_address
from longlag.training import RunCallback, RunResult, Split, train
from tests.browser.chromium import TRACE, opened
from tests.servers.ports import free_port
from tests.servers.ui import ui

if TYPE_CHECKING:
    from playwright.sync_api import Page

CELLS = ("rnn", "lstm", "gru", "urnn")
STUDY = "many-runs"
LOG, EVALUATE = 20, 200
SHORT = 80
"""Updates of the run that is listened to: logged at 20, evaluated at 40, at its end at 80."""
STUDIES = 10
LOADS = 3
WAIT = 60_000  # ms
OVERLAID = 20
LINE = f"[...document.querySelectorAll('{TRACE} path.js-line')].some(line => line.getBBox().width > 50)"
"""The first line in the document may be a single point, which is never seen."""


class Tape(RunCallback):
    """What a run told, by update."""

    def __init__(self) -> None:
        self.splits: Mapping[str, Split] = {}
        self.environment: Mapping[str, str] = {}
        self.calls: dict[int, list[tuple[str, Any]]] = {}
        self.result: RunResult | None = None

    def started(
        self, spec: RunSpec, splits: Mapping[str, Split], parameters: int, environment: Mapping[str, str]
    ) -> None:
        self.splits, self.environment = splits, environment

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        self.calls.setdefault(update, []).append(("measured", values))

    def flow(self, update: int, curves: Sequence[Curve]) -> None:
        self.calls.setdefault(update, []).append(("flow", curves))

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        self.calls.setdefault(update, []).append(("lag", curves))

    def training_flow(self, update: int, curves: Sequence[Curve]) -> None:
        self.calls.setdefault(update, []).append(("training_flow", curves))

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.calls.setdefault(update, []).append(("measured", {"validation/score": score}))

    def finished(self, result: RunResult) -> None:
        self.result = result


def spec_of(cell: str, updates: int, every: int, seed: int) -> RunSpec:
    return load_run(
        {
            "task": {"name": "copy-memory", "length": 500},
            "cell": cell,
            "model": {"hidden_size": 16},
            "training": {"updates": updates, "eval_every": every, "batch_size": 4},
            "data": {"validation": 8, "test": 8},
            "probe": {"log_every": LOG, "batch_size": 4},
            "seed": seed,
        }
    )


def replay(tape: Tape, store: Store, study: str, parent: str, spec: RunSpec, number: int) -> None:
    """Write one run as if it had been trained."""
    assert tape.result is not None
    random = np.random.default_rng(number)
    experiment = store.experiment_id(study)
    callback = store.callback(experiment, parent, {"longlag.study": study}, f"{number:03d} {spec.cell.name}")
    callback.started(spec, tape.splits, tape.result.parameters, tape.environment)
    updates = spec.training.updates
    for update in (0, 1, *range(LOG, updates + 1, LOG)):
        like = update if update < LOG else SHORT if update == updates else 40 if update % EVALUATE == 0 else LOG
        for method, values in tape.calls.get(like, ()):
            getattr(callback, method)(update, _varied(values, random))
    fields = {"spec": spec, "run_key": spec.run_key, "updates": updates, "score": random.uniform()}
    callback.finished(tape.result.model_copy(update=fields))


def _varied(values: Any, random: np.random.Generator) -> Any:
    factor = float(np.exp(random.normal()))
    if isinstance(values, Mapping):
        return {name: value * factor for name, value in values.items()}
    return [replace(curve, norms=curve.norms * factor, by_lag=curve.by_lag * factor) for curve in values]


def fill(home: Home, runs: int, updates: int, studies: int) -> None:
    """So many runs, shared out to so many studies, in a home of their own."""
    store = Store.open(home)
    tapes = {}
    for cell in CELLS:
        tapes[cell] = Tape()
        train(spec_of(cell, SHORT, SHORT // 2, 0), [tapes[cell]])
    for first in range(studies):
        study = STUDY if first == 0 else f"{STUDY}-{first + 1}"
        experiment = store.experiment(study)
        parent = study_run.begin(
            store, experiment, study, {"longlag.study": study, "longlag.study_identity": study}, {}
        )
        for number in range(runs * first // studies, runs * (first + 1) // studies):
            cell = CELLS[number % len(CELLS)]
            spec = spec_of(cell, updates, EVALUATE, number // len(CELLS))
            replay(tapes[cell], store, study, parent, spec, number)
        study_run.end(store, parent, "FINISHED", {})


def size(home: Home) -> str:
    """Series and points a run, and the size of the database."""
    store = Store.open(home)
    run = store.stored_runs(store.experiment_id(STUDY))[0]
    names = list(store.client.get_run(run.run_id).data.metrics)
    points = sum(len(store.series(run.run_id, name)) for name in names)
    megabytes = (home.root / "mlflow.db").stat().st_size / 1e6
    return f"{len(names)} series and {points} points in a run, database of {megabytes:.0f} MB"


def load(page: Page, url: str, ready: Callable[[Page], None]) -> tuple[float, float, float, float]:
    """Seconds until a page is there, those of waiting for the API and of the slowest request, and MB received."""
    page.goto("about:blank")
    done: list[Any] = []

    def note(request: Any) -> None:
        done.append(request)

    page.on("requestfinished", note)
    start = time.perf_counter()
    page.goto(url)
    ready(page)
    seconds = time.perf_counter() - start
    page.remove_listener("requestfinished", note)
    slowest = max((r.timing["responseEnd"] - r.timing["requestStart"] for r in done), default=0.0) / 1e3
    spans = sorted(
        (r.timing["startTime"], r.timing["startTime"] + r.timing["responseEnd"])
        for r in done
        if "/ajax-api/" in r.url or r.url.endswith("/graphql")
    )
    return seconds, covered(spans) / 1e3, slowest, sum(r.sizes()["responseBodySize"] for r in done) / 1e6


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """What spans in the order of their starts cover, where several do counted once."""
    total, reached = 0.0, -np.inf
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def visit(home: Home, pictures: Path | None) -> Iterator[tuple[str, float, float, float, float]]:
    """Every page: its name, median seconds, those of waiting for the API and of the slowest request, MB."""
    store = Store.open(home)
    experiment = store.experiment_id(STUDY)
    runs = [entry.run_id for entry in store.stored_runs(experiment)]
    metric = "gradient_by_lag/layer1.h/last"

    def chart(page: Page) -> None:
        page.wait_for_function(LINE, timeout=WAIT)

    def text(wanted: str | re.Pattern[str]) -> Callable[[Page], None]:
        return lambda page: page.get_by_text(wanted).first.wait_for(timeout=WAIT)

    with ui(home.root, STUDY, free_port()) as first, tempfile.TemporaryDirectory() as folder:
        server = first.split("/#")[0]
        run = f"{server}/#/experiments/{experiment}/runs/{runs[0]}"
        pages: dict[str, tuple[str, Callable[[Page], None]]] = {
            "study, saved view": (first, chart),
            "study, table": (address(server, experiment, "table"), text(re.compile(r"^\d{3} [a-z]+$"))),
            "a run": (f"{run}?workflowType=machine_learning", text("copy-memory")),
            "a run's charts": (f"{run}/model-metrics?workflowType=machine_learning", chart),
            f"one curve of {OVERLAID} runs": (curve_address(server, experiment, runs[:OVERLAID], metric), chart),
        }
        with opened(Path(folder)) as page:
            load(page, *pages["study, saved view"])  # the browser keeps MLflow's scripts from here on
            for name, (url, ready) in pages.items():
                loads = [load(page, url, ready) for _ in range(LOADS)]
                pages_s, _, requests, _ = zip(*loads, strict=True)
                yield name, statistics.median(pages_s), loads[-1][1], max(requests), loads[-1][3]
                if pictures:
                    page.wait_for_timeout(2000)
                    page.screenshot(path=pictures / f"{name.replace(' ', '-').replace(',', '')}.png")
            page.goto("about:blank")  # it asks the server for news every some seconds, which is about to end


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ui", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--home", type=Path, help="keep the stores in this folder, and use those that are there")
    parser.add_argument("--fill", action="store_true", help="write the stores and stop")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots")
    options = parser.parse_args(arguments)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        root = options.home or Path(folder)
        for runs, studies in ((len(CELLS), 1), (options.runs, STUDIES), (options.runs, 1)):
            place = root / f"{runs}-runs-{studies}"
            if not (place / "home.json").exists():
                fill(Home.open(place), runs, options.updates, studies)
            print(f"\n{runs} runs in {studies} studies: {size(Home.open(place))}")
            if options.fill:
                continue
            print(f"{'':<26}{'page s':>9}{'server s':>10}{'request s':>11}{'MB':>7}")
            for name, seconds, server, slowest, megabytes in visit(Home.open(place), options.pictures):
                print(f"{name:<26}{seconds:>9.1f}{server:>10.2f}{slowest:>11.2f}{megabytes:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
