"""Several workers: the same numbers, nothing lost, and a Ctrl-C that saves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag import processes, report
from longlag.cli.checks import examine
from longlag.errors import UserError
from longlag.spec import load_study
from longlag.study.callback import StudyCallback
from longlag.study.queue import Workers
from longlag.study.storage import no_experimental_warnings
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.workers.launchers.local import how_many
from longlag.workspace import Workspace

PATIENCE = 300  # seconds; it matters where something fails

STUDY: dict[str, Any] = {
    "name": "side-by-side",
    "base": {
        "task": {"name": "adding", "length": 10},
        "model": {"hidden_size": 6},
        "training": {"batch_size": 10, "updates": 40, "eval_every": 20},
        "data": {"validation": 20, "test": 20},
        "probe": {"curves": False},
    },
    "space": {"cell": ["rnn", "gru"], "model.depth": [1, 2]},
    "sampler": {"name": "grid"},
}
TIMES = {"wall_seconds", "cpu_seconds"}


class Notes(StudyCallback):
    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []
        self.results: list[RunResult] = []

    def trial_ended(self, number: int, state: Any, objective: float | None, reason: str) -> None:
        self.ended.append((number, state))

    def finished(self, result: RunResult) -> None:
        self.results.append(result)


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one(tmp_path: Path) -> None:
    notes = Notes()
    two = longlag.sweep(STUDY, home=tmp_path / "two", workers=2, callbacks=[notes])
    one = longlag.sweep(STUDY, home=tmp_path / "one")
    assert sorted(notes.ended) == [(number, "complete") for number in range(4)]

    def figures(result: Any) -> dict[str, Any]:
        runs = [run for trial in result.trials for run in trial.runs]
        assert len(runs) == 4
        return {run.run_key: run.model_dump(mode="json", exclude=TIMES) for run in runs}

    assert figures(two) == figures(one)
    assert {run.run_key for run in notes.results} == set(figures(one))
    assert [trial.objective for trial in two.trials] == [trial.objective for trial in one.trials]


@pytest.mark.slow
def test_a_folder_full_of_modules_with_common_names_shadows_nothing(tmp_path: Path) -> None:
    names = ("tasks", "utils", "sweeps", "cells", "queue", "platform", "types", "yaml", "longlag")
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py was imported')\n")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('harness was imported')\n")
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    code = "from longlag.cli import main; main()"
    command = [sys.executable, "-P", "-c", code, "sweep", "study.json", "--home", "home", "--workers", "2"]
    environment = {**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [trial.state for trial in report("side-by-side", home=tmp_path / "home").trials] == ["complete"] * 4


class Thief(StudyCallback):
    """Takes the first trial for dead, as another machine does that has seen no heartbeat of it."""

    def __init__(self, url: str) -> None:
        self.url, self.stolen = url, list[int]()
        self.reasons: list[str] = []

    def run_started(self, spec: Any) -> None:
        if not self.stolen:
            study_store = StudyStore.stored("side-by-side", self.url)
            study_store.heartbeat_monitor.silent = lambda *_: study_store.progress().running  # type: ignore[method-assign]
            with pytest.MonkeyPatch.context() as another, study_store.lock():
                another.setattr(processes, "this", dict)
                self.stolen = study_store.recover_orphans()

    def trial_ended(self, number: int, state: Any, objective: float | None, reason: str) -> None:
        if number in self.stolen:
            self.reasons.append(reason)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_a_worker_whose_trial_was_taken_over_drops_it_and_goes_on(seeds: list[int], tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    thief = Thief(home.optuna_url)
    result = longlag.sweep({**STUDY, "seeds": seeds}, home=home.root, callbacks=[thief])
    assert thief.stolen == [0]
    assert len(thief.reasons) == 1 and "another process took it over" in thief.reasons[0]
    assert (result.remaining, result.failed) == (0, [])
    assert [len(trial.runs) for trial in result.trials] == [len(seeds)] * 4
    trials = StudyStore.stored("side-by-side", home.optuna_url).study.get_trials()
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE"] * 4 + ["FAIL"]


@pytest.mark.parametrize(("asked", "trials", "count"), [(1, 9, 1), (4, 9, 4), (4, 2, 2), (3, 0, 1)])
def test_never_more_workers_than_trials(asked: int, trials: int, count: int) -> None:
    assert how_many(asked, trials) == count
    assert 1 <= how_many("auto", trials) <= len(os.sched_getaffinity(0))
    with pytest.raises(UserError, match="at least 1, or 'auto'"):
        Workers(count=0)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_once_saves_and_the_same_command_goes_on(workers: int, tmp_path: Path) -> None:
    long = {**STUDY, "name": "long", "space": {"cell": ["rnn", "gru"]}}
    long["base"] = {**STUDY["base"], "training": {"batch_size": 10, "updates": 3000, "eval_every": 1000}}
    file, home = tmp_path / "study.json", tmp_path / "home"
    file.write_text(json.dumps(long))
    command = [sys.executable, "-c", "from longlag.cli import main; main()", "sweep", str(file), "--home", str(home)]
    # a checkpoint at every update: after the first, which is waited for, thousands have yet to be written
    command += ["--workers", str(workers), "--checkpoint-seconds", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + PATIENCE
        while not list((home / "checkpoints").glob("*/*.json")):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "once more stops at once" in said
    assert "the same command continues the study" in said
    opened = Home.open(home)
    assert "RUNNING" not in {
        entry.status for entry in Store.open(opened).stored_runs(report("long", home=home).experiment)
    }
    states = {trial.state.name for trial in StudyStore.stored("long", opened.optuna_url).study.get_trials()}
    assert "RUNNING" not in states and "WAITING" in states
    saved = [path.stem for path in (home / "checkpoints").glob("*/*.json")]
    assert saved and all(0 < int(stem) < 3000 for stem in saved)
    assert "wrong" not in {finding.state for finding in examine(Workspace(opened))}
    result = longlag.sweep(long, home=home)
    assert (result.remaining, len(result.trials)) == (0, 2)
    assert list((home / "checkpoints").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_the_doctor_finds_and_repairs_what_a_dead_process_left(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    study = {**STUDY, "space": {"cell": ["rnn"]}}
    longlag.sweep(study, home=home.root)
    assert {finding.state for finding in examine(Workspace(home))} <= {"ok", "note"}
    with no_experimental_warnings():
        StudyStore.stored("side-by-side", home.optuna_url).study.ask()
    store = Store.open(home)
    experiment = store.experiment_id("side-by-side")
    gone = {"run_key": "0", **processes.this(), "pid": "999999999"}
    store.client.create_run(experiment, tags=gone)
    damaged = home.checkpoints / "abc"
    damaged.mkdir(parents=True)
    (damaged / "00000001.json").write_text("{")

    def wrong() -> dict[str, str]:
        return {finding.what: finding.about for finding in examine(Workspace(home)) if finding.state == "wrong"}

    assert set(wrong()) == {"study side-by-side", "runs", "checkpoint abc"}
    repaired = {finding.what for finding in examine(Workspace(home), repair=True) if finding.state == "repaired"}
    assert repaired == {"study side-by-side", "runs", "checkpoint abc"}
    assert wrong() == {}
    (home.root / "optuna.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    assert set(wrong()) == {"optuna.db"}


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
@pytest.mark.parametrize("values", [{}, {"cell": "rnn"}])
def test_a_trial_that_died_before_it_had_all_values_takes_no_point(values: dict[str, str], tmp_path: Path) -> None:
    """Killed between Optuna's first write about a trial and its last: the grid is run as if it had not been there."""
    home = Home.open(tmp_path / "home")
    with no_experimental_warnings():
        StudyStore.open(load_study(STUDY), home.optuna_url)
        study = StudyStore.stored("side-by-side", home.optuna_url).study
        if values:
            study.enqueue_trial(values)
        trial = study.ask()
        for name in values:
            assert trial.suggest_categorical(name, ["rnn", "gru"]) == "rnn"
        trial.set_user_attr("process", {**processes.this(), "pid": "999999999"})
    result = longlag.sweep(STUDY, home=home.root)
    points = [(trial.point["cell"], trial.point["model.depth"]) for trial in result.trials if trial.state == "complete"]
    assert sorted(points) == [("gru", 1), ("gru", 2), ("rnn", 1), ("rnn", 2)]
    assert (result.remaining, result.failed) == (0, [])
    assert longlag.sweep(STUDY, home=home.root) == result, "and there is nothing left to do"


def test_a_sampler_that_proposes_nothing_stops_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no such node")

    monkeypatch.setattr("longlag.study.space.suggest", broken)
    with pytest.raises(UserError, match="the sampler grid proposes no point: ValueError: no such node"):
        longlag.sweep(STUDY, home=tmp_path / "home")
