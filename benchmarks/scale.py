"""How many workers one study feeds: ``python -m benchmarks.scale``.

Workers are simulated: they hold a trial in place of training one. One driver has up to 500 of them, on SQLite and on a
PostgreSQL server of loopback. All hold a trial of the study, and one ends its trial and gets the next as soon as the
driver has time. Search, supervisor, sampler, database and heartbeats are real. The driver is never idle, so the trials
a second that it sustains are the ceiling of the study.

Runs are recorded apart from that, by processes that find, claim and record runs in MLflow as workers do: in the home's
SQLite, and over an MLflow server. The runs a second that two of them sustain are the ceiling of the tracker.

    trials/s    trials that ended and were replaced, a second
    driver      processor time of the driver a trial, and the share of the time that each part took: lock (waiting for
                the study's lock), sampler (proposing), storage (Optuna's database, all other calls), idle
    limit       what sustains the fewest: one of these parts, or the tracker
    feeds       workers that this many trials a second keep busy, at trials of 10 s, 1 min and 10 min
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import optuna

import longlag
from benchmarks.timing import machine
from longlag import optuna_private
from longlag.spec import RunSpec, StudySpec
from longlag.study import space
from longlag.study.search import StudySearch
from longlag.study.storage import address, no_experimental_warnings
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunCallback, RunResult
from longlag.workers import runner, supervisor
from longlag.workers.launchers import Receiver
from longlag.workers.requests import Execution, Interrupted, RunRequest, WorkerConfig
from longlag.workers.supervisor import Supervisor
from tests.servers.mlflow import mlflow_server
from tests.servers.postgresql import PostgreSQL, missing_postgresql

TRIALS = (10, 60, 600)
PARTS = ("lock", "sampler", "storage", "other", "idle")
BASE: dict[str, Any] = {
    "task": {"name": "adding", "length": 6},
    "cell": "rnn",
    "model": {"hidden_size": 4},
    "training": {"batch_size": 4, "updates": 4, "eval_every": 2},
    "data": {"validation": 8, "test": 8},
    "probe": {"log_every": 2, "curves": False},
}


def study(name: str, sampler: str) -> StudySpec:
    axes = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.depth": [1, 2]}
    fields = {"name": name, "base": BASE, "space": axes, "sampler": {"name": sampler}, "trials": 1_000_000}
    return StudySpec.model_validate(fields)


# -- a recorder: what a worker does beside training -------------------------------------------------------------------


def replayed(template: RunResult) -> Callable[..., RunResult]:
    """In place of `longlag.training.train`: the events of a short run, and its result, without training."""

    def train(spec: RunSpec, callbacks: Sequence[RunCallback], **_: Any) -> RunResult:
        result = template.model_copy(update={"spec": spec, "run_key": spec.run_key})
        for callback in callbacks:
            callback.started(spec, {}, result.parameters, result.environment)
            for update in (2, 4):
                callback.measured(update, {"train/loss": 1 / update, **result.validation})
                callback.evaluated(update, result.validation, result.score)
            callback.finished(result)
        return result

    return train


def record(
    config: WorkerConfig, template: RunResult, seeds: Sequence[int], ready: Any, done: multiprocessing.Queue[float]
) -> None:
    """A recorder process: it records one run a seed, the first before all are ready; processor seconds of each out."""
    tracking = Store.open(Home(config.home), config.tracking_uri)
    with patch.object(runner, "train", replayed(template)):
        for number, seed in enumerate(seeds):
            request = RunRequest(
                spec=template.spec.model_copy(update={"seed": seed}),
                name=f"run {seed}",
                tags={"longlag.study": "scale"},
            )
            before = time.process_time()
            outcome = runner.perform(request, config, tracking, [], lambda: False, lambda *_: None)
            assert isinstance(outcome, Execution), outcome
            if number:
                done.put(time.process_time() - before)
            else:
                ready.wait()


# -- simulated workers ------------------------------------------------------------------------------------------------


class Simulated:
    """A launcher with the one slot whose worker ends its trial next; it ends a trial as soon as it has it."""

    inline = False

    def __init__(self, template: RunResult) -> None:
        self.template = template
        self.ended = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """There is nothing to end."""

    def room(self) -> int:
        return 1

    def start(self, slot: int, receiver: Receiver) -> None:
        self.receiver = receiver
        receiver.post(slot, ["ready"])

    def run(self, slot: int, request: RunRequest) -> None:
        self.ended += 1
        result = self.template.model_copy(update={"spec": request.spec, "run_key": request.spec.run_key})
        self.receiver.post(slot, ["done", result.model_dump_json(), "0" * 32, "0", True])

    def answer(self, slot: int, prune: str | None) -> None:
        """No run has a pruner."""

    def tick(self) -> None:
        """Nothing comes by itself."""

    def stop(self) -> None:
        self.receiver.post(0, ["ended", "stopped"])

    def kill(self) -> None:
        """No process is left."""

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        return RuntimeError(f"{deaths} simulated workers died: {how}")


def hold(study_store: StudyStore, search: StudySearch, count: int) -> None:
    """Begin as many trials as other workers hold: one, and copies of it. This process gives their heartbeats."""
    study = study_store.study
    for number in range(count):
        if number == 0:
            search.ask(1)
            (first,) = study.get_trials(deepcopy=False)
            continue
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING,
                params=first.params,
                distributions=first.distributions,
                user_attrs=first.user_attrs,
            )
        )
    for trial in study.get_trials(deepcopy=False):
        search.heartbeat.trials[optuna_private.trial_id(trial)] = time.monotonic()


# -- where the driver's time goes -------------------------------------------------------------------------------------


class Parts:
    """Seconds of the driver by part, without those of the parts inside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.open: list[list[float]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.open.append([time.perf_counter(), 0.0])
        try:
            yield
        finally:
            began, inside = self.open.pop()
            took = time.perf_counter() - began
            self.seconds[name] += took - inside
            if self.open:
                self.open[-1][1] += took

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            with self.part(name):
                return function(*arguments, **keywords)

        return wrapped

    @contextmanager
    def measured(self) -> Iterator[None]:
        lock = StudyStore.lock

        @contextmanager
        def locked(own: StudyStore) -> Iterator[None]:
            with self.part("lock"):
                context = lock(own)
                context.__enter__()
            try:
                yield
            finally:
                with self.part("lock"):
                    context.__exit__(None, None, None)

        with (
            patch.object(StudyStore, "lock", locked),
            patch.object(space, "suggest", self.wrap("sampler", space.suggest)),
            patch.object(StudySearch, "ask", self.wrap("storage", StudySearch.ask)),
            patch.object(StudySearch, "tell", self.wrap("storage", StudySearch.tell)),
            patch.object(Supervisor, "receive", self.wrap("idle", Supervisor.receive)),
            patch.object(Supervisor, "handle", self.wrap("other", Supervisor.handle)),
            patch.object(Simulated, "run", self.wrap("simulation", Simulated.run)),
        ):
            yield


# -- the measurements -------------------------------------------------------------------------------------------------


def sustained(url: str, template: RunResult, options: argparse.Namespace, workers: int) -> dict[str, Any]:
    """One study with all of its worker slots taken, for some seconds."""
    launcher, parts = Simulated(template), Parts()
    began: list[float] = []

    def stop() -> bool:
        if launcher.ended < 3:
            return False
        if not began:  # what came before belongs to the beginning
            parts.seconds.clear()
            began.extend([launcher.ended, time.monotonic(), time.process_time()])
        return time.monotonic() - began[1] >= options.seconds and launcher.ended > began[0]

    config = WorkerConfig(
        home=Path(), tracking_uri=None, experiment="0", parent=None, name="scale", threads=1, checkpoint_seconds=None
    )
    study_store = StudyStore.open(study(f"scale-{workers}", options.sampler), url)
    with closing(study_store.storage), no_experimental_warnings(), parts.measured():
        search = StudySearch(study_store, lambda _: ())
        hold(study_store, search, workers - 1)
        tracking: Any = None  # the tracker is measured apart
        with (
            closing(search.heartbeat),
            patch.object(supervisor, "find", lambda *_: None),
            patch.object(search, "abandon", lambda _: None),  # the database is thrown away
        ):
            try:
                Supervisor(search, launcher, config, tracking, lambda _: (), stop).run()
            except Interrupted:
                took, used = time.monotonic() - began[1], time.process_time() - began[2]
    whole, ended = sum(parts.seconds.values()), launcher.ended - int(began[0])
    return {
        "workers": workers,
        "trials": ended,
        "rate": ended / took,
        "processor": used / ended,
        "shares": {name: parts.seconds[name] / whole for name in PARTS},
    }


def recorded(home: Path, uri: str | None, template: RunResult, recorders: int, count: int) -> tuple[float, float]:
    """Runs a second that recorders sustain, and the processor seconds of one run's records."""
    opened = Store.open(Home.open(home), uri)
    config = WorkerConfig(
        home=home,
        tracking_uri=uri,
        experiment=opened.experiment("recorded", ""),
        parent=None,
        name="recorded",
        threads=1,
        checkpoint_seconds=None,
    )
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(recorders + 1), context.Queue()
    share = count // recorders + 1
    processes = [
        context.Process(
            target=record,
            args=(config, template, range(1000 * number, 1000 * number + share), ready, done),
            daemon=True,
        )
        for number in range(1, recorders + 1)
    ]
    for process in processes:
        process.start()
    ready.wait(300)
    began = time.monotonic()
    used = [done.get() for _ in range(recorders * (share - 1))]
    took = time.monotonic() - began
    for process in processes:
        process.join()
    return len(used) / took, statistics.median(used)


def feeds(rate: float) -> str:
    return "  ".join(f"{rate * seconds:>7,.0f}" for seconds in TRIALS)


def report(storage: str, row: dict[str, Any], tracker: float) -> str:
    shares = "  ".join(f"{name} {share:4.0%}" for name, share in row["shares"].items())
    limit = max(PARTS, key=row["shares"].__getitem__) if row["rate"] < tracker else "tracker"
    start = f"{storage:<11}{row['workers']:>8}{row['trials']:>8}{row['rate']:>10.1f}"
    line = f"{start}{1000 * row['processor']:>7.0f} ms   {shares}   {limit:<8}{feeds(min(row['rate'], tracker))}"
    return f"{line}   {os.getloadavg()[0]:.1f}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,10,100,500", help="worker slots, separated by commas")
    parser.add_argument("--storage", default="sqlite,postgresql")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--runs", type=int, default=40, help="that are recorded to measure the tracker")
    options = parser.parse_args(arguments)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n", flush=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="longlag-scale-") as name:
        folder = Path(name)
        template = longlag.run(BASE, home=folder / "template")
        print(f"\n{'tracker':<22}{'recorders':>11}{'runs/s':>8}{'processor':>11}    load", flush=True)
        rates = []
        for where in ("SQLite of the home", "MLflow server"):
            for recorders in (1, 2):
                place = folder / f"{where.replace(' ', '-')}-{recorders}"
                place.mkdir()
                with nullcontext(None) if where != "MLflow server" else mlflow_server(place) as uri:
                    rate, used = recorded(place / "home", uri, template, recorders, options.runs)
                rates.append(rate)
                load = f"{os.getloadavg()[0]:>8.1f}"
                print(f"{where:<22}{recorders:>11}{rate:>8.1f}{1000 * used:>8.0f} ms{load}", flush=True)
        head = f"\n{'storage':<11}{'workers':>8}{'trials':>8}{'trials/s':>10}{'driver':>10}"
        print(f"{head}   {'shares':<48}   limit   feeds at 10 s, 1 min, 10 min   load", flush=True)
        for storage in options.storage.split(","):
            with server(storage, folder) as url:
                for workers in map(int, options.workers.split(",")):
                    print(report(storage, sustained(url, template, options, workers), max(rates)), flush=True)


@contextmanager
def server(storage: str, folder: Path) -> Iterator[str]:
    """The address of a database for studies."""
    if storage == "sqlite":
        yield f"sqlite:///{folder}/studies.db"
        return
    missing = missing_postgresql()
    if missing is not None:
        raise SystemExit(missing)
    short = Path(tempfile.mkdtemp(prefix="longlag-pg-", dir="/tmp"))  # the address of a socket has to be short
    short.chmod(0o755)
    try:
        running = PostgreSQL(short)
        try:
            yield address(running.url)
        finally:
            running.stop()
    finally:
        shutil.rmtree(short, ignore_errors=True)


if __name__ == "__main__":
    main()
