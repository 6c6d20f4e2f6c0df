"""How many workers one study feeds: ``python -m benchmarks.scale``.

Workers are simulated: they sleep in place of training, and everything else is real. One driver runs `longlag.sweep`
with up to 500 worker slots on SQLite and on a PostgreSQL server of loopback. Optuna proposes and stores every trial.
Recorder processes find, claim and record every run in MLflow, as workers do. With sleeps of 0 s driver and stores are
always busy: the trials a second that are then sustained are the ceiling.

    trials/s    ended trials a second, after the first tenth of them
    driver      share of the time in the driver's loop that each part takes: lock (waiting for the study's lock),
                sampler (proposing), storage (Optuna's database, all other calls), idle (waiting for workers)
    tracker     processor seconds of one run's records, and runs a second that the recorders reach without a driver
    feeds       workers that this many trials a second keep busy, at trials of 10 s, 1 min and 10 min

The recorders share the machine with the driver: on a cluster each worker records on its own cores.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import multiprocessing
import shutil
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from unittest.mock import patch

import optuna

import longlag
from benchmarks.timing import machine
from longlag.spec import RunSpec
from longlag.study import space
from longlag.study.search import StudySearch
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunCallback, RunResult
from longlag.workers import runner
from longlag.workers.launchers import Launcher, Receiver
from longlag.workers.messages import Message
from longlag.workers.requests import Execution, RunRequest, WorkerConfig
from longlag.workers.supervisor import Supervisor
from tests.servers.postgresql import PostgreSQL, missing_postgresql

TRIALS = (10, 60, 600)
BASE: dict[str, Any] = {
    "task": {"name": "adding", "length": 6},
    "cell": "rnn",
    "model": {"hidden_size": 4},
    "training": {"batch_size": 4, "updates": 4, "eval_every": 2},
    "data": {"validation": 8, "test": 8},
    "probe": {"log_every": 2, "curves": False},
}


def study(name: str, trials: int, sampler: str) -> dict[str, Any]:
    axes = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "model.depth": [1, 2]}
    return {"name": name, "base": BASE, "space": axes, "sampler": {"name": sampler}, "trials": trials}


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
    config: WorkerConfig, template: RunResult, requests: multiprocessing.Queue[Any], done: multiprocessing.Queue[Any]
) -> None:
    """A recorder process: requests in, outcomes and the processor seconds that each took out."""
    tracking = Store.open(Home(config.home), config.tracking_uri)
    with patch.object(runner, "train", replayed(template)):
        while (item := requests.get()) is not None:
            index, request = item
            before = time.process_time()
            outcome = runner.perform(
                RunRequest.model_validate(request), config, tracking, [], lambda: False, lambda *_: None
            )
            assert isinstance(outcome, Execution), outcome
            result = outcome.result.model_dump_json()
            message = ["done", result, outcome.run_id, outcome.experiment, outcome.trained]
            done.put((index, message, time.process_time() - before))


# -- simulated workers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """An executor whose workers sleep for `seconds` in place of training; `recorders` processes record their runs."""

    seconds: float
    recorders: int
    template: RunResult
    cpu: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def launcher(self, workers: int | Literal["auto"], most: int | None) -> Launcher:
        assert workers != "auto"
        return Sleepers(self, workers)


class Sleepers:
    """The launcher: a heap of sleeping workers, and a thread that takes what recorders have done."""

    inline = False

    def __init__(self, executor: Simulated, count: int) -> None:
        self.executor, self.count = executor, count
        self.asleep: list[tuple[float, int, Mapping[str, Any]]] = []
        self.workers: dict[int, Receiver] = {}
        context = multiprocessing.get_context("spawn")
        self.requests, self.done = context.Queue(), context.Queue()
        self.context = context
        self.processes: list[Any] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.collect, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.done.put(None)

    def room(self) -> int:
        return self.count

    def start(self, slot: int, supervisor: Receiver) -> None:
        if not self.processes:
            for _ in range(self.executor.recorders):
                arguments = (supervisor.config, self.executor.template, self.requests, self.done)
                self.processes.append(self.context.Process(target=record, args=arguments, daemon=True))
                self.processes[-1].start()
        self.workers[slot] = supervisor
        supervisor.post(slot, ["ready"])

    def run(self, slot: int, request: RunRequest) -> None:
        due = time.monotonic() + self.executor.seconds
        heapq.heappush(self.asleep, (due, slot, request.model_dump(mode="json")))
        self.tick()

    def answer(self, slot: int, prune: str | None) -> None:
        """No run has a pruner."""

    def tick(self) -> None:
        while self.asleep and self.asleep[0][0] <= time.monotonic():
            _, slot, request = heapq.heappop(self.asleep)
            self.requests.put((slot, request))

    def collect(self) -> None:
        while (item := self.done.get()) is not None:
            slot, message, cpu = item
            self.executor.cpu.append(cpu)
            self.executor.ended.append(time.monotonic())
            self.workers[slot].post(slot, message)

    def stop(self) -> None:
        for slot, supervisor in self.workers.items():
            ended: Message = ["ended", "stopped"]
            supervisor.post(slot, ended)

    def kill(self) -> None:
        for _ in self.processes:
            self.requests.put(None)
        for process in self.processes:
            process.join(30)
        self.processes.clear()

    def gave_up(self, slot: int, deaths: int, how: str) -> Exception:
        return RuntimeError(f"{deaths} simulated workers died: {how}")


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
            patch.object(StudySearch, "finished", self.wrap("storage", StudySearch.finished)),
            patch.object(Supervisor, "receive", self.wrap("idle", Supervisor.receive)),
        ):
            yield


# -- the measurements -------------------------------------------------------------------------------------------------


def sustained(
    url: str | None, home: Path, template: RunResult, options: argparse.Namespace, workers: int
) -> dict[str, Any]:
    """One simulated sweep."""
    executor = Simulated(options.seconds, min(options.recorders, workers), template)
    trials = max(options.trials, 2 * workers if options.seconds else 0)
    parts, fields = Parts(), study(f"scale-{workers}", trials, options.sampler)
    with parts.measured():
        longlag.sweep(fields, home=home, storage=url, workers=workers, executor=executor)
    ended = sorted(executor.ended)
    first = len(ended) // 10
    rate = (len(ended) - 1 - first) / (ended[-1] - ended[first])
    whole = sum(parts.seconds.values())
    return {
        "storage": "SQLite" if url is None else "PostgreSQL",
        "workers": workers,
        "trials": len(ended),
        "rate": rate,
        "shares": {name: parts.seconds[name] / whole for name in ("lock", "sampler", "storage", "idle")},
        "record": statistics.median(executor.cpu),
    }


def recorded(home: Path, template: RunResult, recorders: int, count: int) -> float:
    """Runs a second that recorders reach without a driver."""
    opened = Store.open(Home.open(home))
    experiment = opened.experiment("recorded", "")
    config = WorkerConfig(
        home=home,
        tracking_uri=None,
        experiment=experiment,
        parent=None,
        name="recorded",
        threads=1,
        checkpoint_seconds=None,
    )
    context = multiprocessing.get_context("spawn")
    requests, done = context.Queue(), context.Queue()
    for seed in range(count + recorders):
        spec = template.spec.model_copy(update={"seed": 1000 + seed})
        requests.put((seed, RunRequest(spec=spec, name=f"run {seed}", tags={}).model_dump(mode="json")))
    processes = [
        context.Process(target=record, args=(config, template, requests, done), daemon=True) for _ in range(recorders)
    ]
    for process in processes:
        requests.put(None)
        process.start()
    times = []
    for _ in range(count + recorders):
        done.get()
        times.append(time.monotonic())
    for process in processes:
        process.join()
    return count / (times[-1] - times[recorders - 1])


def report(row: dict[str, Any]) -> str:
    shares = "  ".join(f"{name} {share:4.0%}" for name, share in row["shares"].items())
    feeds = "  ".join(f"{row['rate'] * seconds:>7,.0f}" for seconds in TRIALS)
    start = f"{row['storage']:<11}{row['workers']:>8}{row['trials']:>8}{row['rate']:>10.2f}"
    return f"{start}   {shares}   {1000 * row['record']:>6.0f} ms  {feeds}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,10,100,500", help="worker slots, separated by commas")
    parser.add_argument("--storage", default="sqlite,postgresql")
    parser.add_argument("--seconds", type=float, default=0.0, help="sleep of a worker in place of training")
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--recorders", type=int, default=2, help="processes that record runs")
    options = parser.parse_args(arguments)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="longlag-scale-") as name:
        folder = Path(name)
        template = longlag.run(BASE, home=folder / "template")
        head = f"\n{'storage':<11}{'workers':>8}{'trials':>8}{'trials/s':>10}   {'driver':<50}{'record':>9}"
        print(f"{head}  feeds at 10 s, 1 min, 10 min")
        for storage in options.storage.split(","):
            with server(storage) as url:
                for workers in map(int, options.workers.split(",")):
                    row = sustained(url, folder / f"{storage}-{workers}", template, options, workers)
                    print(report(row), flush=True)
        for recorders in (1, options.recorders):
            rate = recorded(folder / f"records-{recorders}", template, recorders, 40)
            print(f"{recorders} recorder(s) alone, MLflow on SQLite: {rate:.1f} runs/s", flush=True)


@contextmanager
def server(storage: str) -> Iterator[str | None]:
    """The address of a PostgreSQL server; None for the home's own SQLite."""
    if storage == "sqlite":
        yield None
        return
    missing = missing_postgresql()
    if missing is not None:
        raise SystemExit(missing)
    folder = Path(tempfile.mkdtemp(prefix="longlag-pg-", dir="/tmp"))  # the address of a socket has to be short
    folder.chmod(0o755)
    try:
        running = PostgreSQL(folder)
        try:
            yield running.url
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
