"""What a sweep costs beside training, and what two workers gain: ``python -m benchmarks.sweeps``.

    workers     trials an hour with one and with two workers, the same grid of trials, start-up counted
    overhead    of logging, of checkpoints and of the search, each as a share of the training beside them, in a sweep
                in this process: a size as in the quick-start study, and one with longer runs
    store       seconds to open a store of 1,000 runs: the report, the list of studies, and what MLflow's page of the
                experiment asks for; and the size of a run in it

Training is the time in `longlag.training.train` less what its callbacks and checkpoints take there. Logging is all of
the MLflow callback, pictures too; checkpoints stand at their default of one in 30 seconds; the search is the rest of
the sweep: choosing points, locks, Optuna's storage, collecting the result, MLflow's side of the study.
What is imported and drawn for the first time in a process is left out by a sweep of one trial before.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.stores import STUDY, grow
from benchmarks.timing import machine

QUICKSTART: dict[str, Any] = {
    "task": {"name": "adding", "length": 60},
    "model": {"hidden_size": 32, "depth": 1},
    "clip": {"norm": 1},
    "optimizer": {"name": "adam", "lr": 0.005},
    "training": {"batch_size": 50, "updates": 3000, "eval_every": 100, "stop_when_solved": False},
    "probe": {"log_every": 20},
}
LONGER: dict[str, Any] = {
    **QUICKSTART,
    "task": {"name": "adding", "length": 200},
    "model": {"hidden_size": 64, "depth": 1},
    "training": {"batch_size": 50, "updates": 2000, "eval_every": 200, "stop_when_solved": False},
}
CALLBACK_METHODS = (
    "started", "measured", "evaluated", "flow", "training_flow", "lag", "weights",
    "predicted", "finished", "saved", "restored",
)  # fmt: skip


def study(name: str, base: dict[str, Any], trials: int) -> dict[str, Any]:
    """A grid of so many equally long trials."""
    rates = [0.005 + 1e-5 * k for k in range(trials)]  # different runs of the same length
    space = {"cell": ["lstm"], "optimizer.lr": rates}
    return {"name": name, "base": base, "space": space, "sampler": {"name": "grid"}}


# -- one worker and two -----------------------------------------------------------------------------------------------


def trials_per_hour(base: dict[str, Any], trials: int, workers: int) -> dict[str, Any]:
    """A sweep in a process of its own, from its start to its end."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "study.json"
        path.write_text(json.dumps(study("bench", base, trials)))
        command = [sys.executable, "-c", "from longlag.cli import main; main()", "sweep", str(path)]
        command += ["--home", f"{made}/home", "--workers", str(workers), "--json"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        result = json.loads(done.stdout)
    lengths = [run["wall_seconds"] for trial in result["trials"] for run in trial["runs"]]
    assert len(lengths) == trials
    return {
        "workers": workers,
        "trials": trials,
        "seconds": seconds,
        "a trial": sum(lengths) / trials,
        "trials an hour": 3600 * trials / seconds,
    }


def report_workers(base: dict[str, Any], trials: int) -> None:
    print(f"\n{'workers':>8}{'trials':>8}{'seconds':>9}{'s a trial':>11}{'trials/h':>10}", flush=True)
    rows = []
    for workers in (1, 2):
        row = trials_per_hour(base, trials, workers)
        rows.append(row)
        print(
            f"{workers:>8}{trials:>8}{row['seconds']:>9.1f}{row['a trial']:>11.1f}{row['trials an hour']:>10.1f}",
            flush=True,
        )
    print(f"two workers give {rows[1]['trials an hour'] / rows[0]['trials an hour']:.2f} times the trials of one")


# -- overheads --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds in each part of a sweep, inner parts not counted in outer ones."""
    from longlag.tracking.callback import MlflowCallback
    from longlag.training import loop, resume
    from longlag.training.checkpoint import Checkpoints
    from longlag.workers import runner

    spent: defaultdict[str, float] = defaultdict(float)
    running: list[str] = []
    since = time.perf_counter()

    def turn() -> None:
        nonlocal since
        now = time.perf_counter()
        spent[running[-1] if running else "outside"] += now - since
        since = now

    def part(owner: Any, name: str, what: str) -> tuple[Any, str, Any]:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            turn()
            running.append(what)
            try:
                return original(*args, **kwargs)
            finally:
                turn()
                running.pop()

        setattr(owner, name, call)
        return owner, name, original

    changed = [part(MlflowCallback, name, "logging") for name in CALLBACK_METHODS]
    changed += [part(Checkpoints, name, "checkpoints") for name in ("write", "read")]
    changed += [part(resume, "snapshot", "checkpoints"), part(runner, "train", "training")]
    assert loop.train is changed[-1][2]
    try:
        yield spent
    finally:
        turn()
        for owner, name, original in changed:
            setattr(owner, name, original)


def report_overhead(sizes: dict[str, tuple[dict[str, Any], int]]) -> None:
    from longlag import sweep

    print(f"\n{'size':<12}{'trials':>7}{'s a trial':>11}{'logging %':>11}{'checkpoints %':>15}{'search %':>10}"
          f"{'kB database':>13}{'kB files':>10}", flush=True)  # fmt: skip
    short = {**QUICKSTART, "training": {**QUICKSTART["training"], "updates": 100}}
    for name, (base, trials) in sizes.items():
        with tempfile.TemporaryDirectory() as made:
            home = Path(made)
            sweep(study("before", short, 1), home=home)
            before = size_of(home)
            with timed() as spent:
                start = time.perf_counter()
                sweep(study("bench", base, trials), home=home)
                whole = time.perf_counter() - start
            after = size_of(home)
        training = spent["training"]
        search = whole - training - spent["logging"] - spent["checkpoints"]
        shares = [100 * value / training for value in (spent["logging"], spent["checkpoints"], search)]
        database, files = ((b - a) / trials / 1024 for a, b in zip(before, after, strict=True))
        print(
            f"{name:<12}{trials:>7}{training / trials:>11.1f}{shares[0]:>11.2f}{shares[1]:>15.2f}{shares[2]:>10.2f}"
            f"{database:>13.0f}{files:>10.0f}",
            flush=True,
        )


def size_of(home: Path) -> tuple[int, int]:
    """Bytes in MLflow's database, as SQLite would pack it, and in files of runs and models."""
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    files = sum(path.stat().st_size for path in (home / "artifacts").rglob("*") if path.is_file())
    return (pages - free) * size, files


# -- a large store ----------------------------------------------------------------------------------------------------


def report_store(runs: int) -> None:
    from longlag import report
    from longlag.cli.homes import studies
    from longlag.tracking.home import Home
    from longlag.tracking.store import Store

    with tempfile.TemporaryDirectory() as made:
        home = Path(made) / "home"
        grow(home, runs)
        print(f"\na store of {runs:,} runs ({sum(size_of(home)[:1]) / 2**20:.0f} MB of database), seconds:")

        def timed(what: str, function: Any) -> Any:
            start = time.perf_counter()
            value = function()
            print(f"  {what:<52}{time.perf_counter() - start:>7.2f}", flush=True)
            return value

        result = timed("longlag report, without the start of Python", lambda: report(STUDY, home=home))
        assert len(result.trials) == runs and all(trial.runs for trial in result.trials)
        timed("longlag list studies, the same", lambda: studies(home))
        timed("all runs of all studies, counted", lambda: Store.open(Home.open(home)).studies())
        with server(home) as address:
            body = {"experiment_ids": [result.experiment], "max_results": 100, "run_view_type": "ACTIVE_ONLY",
                    "order_by": ["attributes.start_time DESC"]}  # fmt: skip

            def page(token: str = "") -> Any:
                body_bytes = json.dumps({**body, **({"page_token": token} if token else {})}).encode()
                headers = {"Content-Type": "application/json"}
                url = f"{address}/ajax-api/2.0/mlflow/runs/search"
                with urllib.request.urlopen(urllib.request.Request(url, body_bytes, headers)) as reply:
                    return json.loads(reply.read())

            first = timed("the experiment's page in MLflow: its first 100 runs", page)
            timed("the next 100", lambda: page(first["next_page_token"]) if "next_page_token" in first else None)


@contextlib.contextmanager
def server(home: Path) -> Iterator[str]:
    """MLflow's pages on a free port."""
    from longlag.tracking.home import Home
    from longlag.tracking.ui import _free, _server

    opened = Home.open(home)
    with _server(opened.tracking_uri, opened, _free(0)) as (_, address):
        yield address


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweeps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="workers, overhead, store; all when not given")
    parser.add_argument("--quick", action="store_true", help="trials of seconds, a store of 100 runs")
    parser.add_argument("--trials", type=int, help="of the sweeps with one and two workers")
    options = parser.parse_args(arguments)
    parts = options.parts or ["workers", "overhead", "store"]
    if wrong := set(parts) - {"workers", "overhead", "store"}:
        parser.error(f"no part {', '.join(sorted(wrong))}: there are workers, overhead, store")
    import torch

    torch.set_num_threads(1)
    print(*(f"{key}: {value}" for key, value in machine().items()), sep="\n")
    few = {**QUICKSTART, "training": {**QUICKSTART["training"], "updates": 300}}
    if "workers" in parts:
        report_workers(few if options.quick else LONGER, options.trials or (2 if options.quick else 6))
    if "overhead" in parts:
        report_overhead(
            {"quick": (few, 2)} if options.quick else {"quick-start": (QUICKSTART, 3), "longer": (LONGER, 2)}
        )
    if "store" in parts:
        report_store(100 if options.quick else 1000)


if __name__ == "__main__":
    main()
