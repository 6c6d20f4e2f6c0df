"""Random SIGKILLs of a worker, the parent, or all, over grid sweeps with two workers: nothing is lost, nothing twice.

``make crash-test`` sends fifty; ``make test`` three. LONGLAG_KILLS and LONGLAG_KILL_SEED choose others.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import longlag
from longlag import report
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store

KILLS = int(os.environ.get("LONGLAG_KILLS", "3"))
SEED = int(os.environ.get("LONGLAG_KILL_SEED", random.randrange(10**6)))
WORKER = "longlag.workers.worker"
PATIENCE = 1800  # seconds for one sweep; the machine may be busy
TIMES = {"wall_seconds", "cpu_seconds"}
NO_FIGURES: Any = {**dict.fromkeys(TIMES, True), "environment": {"git_commit"}}  # the tree may change meanwhile


def grid(number: int) -> dict[str, Any]:
    """A sweep of six points, a second or two each."""
    base = {
        "task": {"name": "adding", "length": 20},
        "model": {"hidden_size": 8, "dropout": 0.1},
        "training": {"batch_size": 20, "updates": 400, "eval_every": 100, "stop_when_solved": False},
        "data": {"validation": 50, "test": 50, "seed": number},
        "probe": {"log_every": 10, "batch_size": 10},
    }
    space = {"cell": ["rnn", "lstm", "gru"], "model.depth": [1, 2]}
    return {"name": f"crash-{number}", "base": base, "space": space, "sampler": {"name": "grid"}}


def start(study: Path, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from longlag.cli import main; main()", "sweep", str(study), "--home", str(home)]
    command += ["--workers", "2", "--checkpoint-seconds", "0.2"]
    log = (home.parent / "sweep.log").open("ab")
    with log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def workers(home: Path) -> list[psutil.Process]:
    """Of any parent, dead or alive, whose log lies in this home."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if WORKER in (process.info["cmdline"] or []):
            with suppress(psutil.Error, OSError):
                if str(Path(f"/proc/{process.pid}/fd/2").readlink()).startswith(str(home)):
                    found.append(process)
    return found


def kill(parent: subprocess.Popen[bytes], home: Path, whom: str) -> str:
    """SIGKILL to one of them, or to all; says to whom."""
    found = workers(home)
    victims = {"worker": found[:1], "parent": [], "all": found}[whom]
    if whom != "worker" or not found:
        parent.kill()
        parent.wait()
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return whom if victims or whom != "worker" else "parent"


def training(home: Path) -> bool:
    """Whether a run is in hand: a process holds its claim, which dies with it while the file stays."""
    for path in (home / "checkpoints").glob("*.lock"):
        with suppress(FileNotFoundError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def disturbed(study: dict[str, Any], home: Path, whom: list[str], draw: random.Random) -> Counter[str]:
    """Sweep to the end, whatever it takes; returns who was killed. It may end before all of `whom` were."""
    file = home.parent / f"{study['name']}.json"
    file.write_text(json.dumps(study))
    killed: Counter[str] = Counter()
    until = time.monotonic() + PATIENCE
    process = start(file, home)
    while time.monotonic() < until:
        if whom:
            while process.poll() is None and not training(home) and draw.random() > 0.01:
                time.sleep(0.1)
            time.sleep(draw.uniform(0, 2.5))
            if process.poll() is None:
                killed[kill(process, home, whom.pop())] += 1
        elif process.poll() is None:
            time.sleep(0.2)
        if process.poll() == 0:
            return killed
        if process.poll() is not None:
            process = start(file, home)
    process.kill()
    raise AssertionError(f"no end after {PATIENCE} s:\n{(home.parent / 'sweep.log').read_text()[-3000:]}")


def figures(name: str, home: Path) -> dict[str, Any]:
    """By run_key everything that was measured: the result, every point of every metric, the curves."""
    store = Store.open(Home.open(home))
    found = {}
    for entry in store.stored_runs(store.experiment_id(name)):
        if entry.status != "FINISHED":
            continue
        assert entry.tags["run_key"] not in found, "finished twice"
        assert entry.result is not None
        metrics = store.client.get_run(entry.run_id).data.metrics
        series = {
            key: sorted((point.step, point.value) for point in store.client.get_metric_history(entry.run_id, key))
            for key in metrics
            if key not in TIMES
        }
        for key, points in series.items():
            assert len({step for step, _ in points}) == len(points), f"{key}: a point stands twice"
        arrays = (home / "artifacts" / entry.run_id / "artifacts" / "gradient_through_time.safetensors").read_bytes()
        found[entry.tags["run_key"]] = (entry.result.model_dump(mode="json", exclude=NO_FIGURES), series, arrays)
    return found


def check(study: dict[str, Any], home: Path) -> None:
    """Nothing is running, every point is complete once, the stores are whole."""
    name = study["name"]
    opened = Home.open(home)
    trials = StudyStore.stored(name, opened.optuna_url).study.get_trials()
    assert {trial.state.name for trial in trials} <= {"COMPLETE", "FAIL"}
    complete = [json.dumps(trial.params, sort_keys=True) for trial in trials if trial.state.name == "COMPLETE"]
    assert len(complete) == len(set(complete)) == 6
    store = Store.open(opened)
    runs = store.client.search_runs([store.experiment_id(name)])
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    result = report(name, home=home)
    assert (result.remaining, result.failed) == (0, [])
    assert [len(trial.runs) for trial in result.trials] == [1] * 6
    for database in ("mlflow.db", "optuna.db"):
        with closing(sqlite3.connect(home / database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert list((home / "checkpoints").iterdir()) == []


@pytest.mark.fault
@pytest.mark.slow
def test_nothing_is_lost(tmp_path: Path) -> None:
    draw = random.Random(SEED)
    home = tmp_path / "home"
    killed: Counter[str] = Counter()
    number = 0
    try:
        while killed.total() < KILLS:
            study = grid(number)
            whom = draw.sample(["worker", "parent", "all"] * 2, min(KILLS - killed.total(), draw.randint(3, 6)))
            killed += disturbed(study, home, whom, draw)
            longlag.sweep(study, home=tmp_path / "undisturbed")
            check(study, home)
            assert figures(study["name"], home) == figures(study["name"], tmp_path / "undisturbed")
            number += 1
            print(f"{number} sweeps, killed so far: {dict(killed)}", flush=True)
    except AssertionError as error:
        error.add_note(f"LONGLAG_KILL_SEED={SEED}, after {dict(killed)}")
        raise
    finally:
        for process in workers(home):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
