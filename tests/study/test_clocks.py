"""Clocks that are set, and that differ: no trial that is being trained is taken over, and a dead one is found."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest

import longlag
from longlag import processes
from longlag.spec import StudySpec, load_study
from longlag.study.callback import StudyCallback
from longlag.study.storage import Storage, address, no_experimental_warnings
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")
ANOTHER = {"host": "elsewhere", "boot": "another", "pid_namespace": "", "pid": "7", "process_started": "7"}
STEPS = (3600, -3600, 3 * 86400)


@contextmanager
def clock_stepped(storage: Storage, seconds: int) -> Iterator[None]:
    """The wall clock as a process sees it after somebody has set it.

    A SQLite database tells the time of the process that asks: its heartbeats are older by the step. The start of every
    process, in seconds since 1970, is later by it, because the kernel knows only the time since its boot.
    """
    now, boot = time.time, psutil._pslinux.boot_time
    with pytest.MonkeyPatch.context() as stepped:
        stepped.setattr(time, "time", lambda: now() + seconds)
        stepped.setattr(psutil._pslinux, "boot_time", lambda: boot() + seconds)
        with storage.engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '{-seconds} seconds')"
            )
        yield


class Second(StudyCallback):
    """What another driver finds during the first run, when the clock is set; and what it finds of a killed process."""

    def __init__(self, study: StudySpec, home: Home) -> None:
        self.spec, self.home = study, home
        self.found: list[list[int]] = []
        self.dead: list[int] = []
        self.statuses: list[str] = []

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        if self.found:
            return
        dead, store = killed(), Store.open(self.home)
        study_store = StudyStore.stored(self.spec.name, self.home.optuna_url)
        with closing(study_store.storage), pytest.MonkeyPatch.context() as another, study_store.lock():
            another.setattr(processes, "this", dict)
            for step in STEPS:
                with clock_stepped(study_store.storage, step):
                    self.found.append(study_store.recover_orphans())
                    self.dead.append(running(study_store, dead).number)
                    self.found.append(study_store.recover_orphans())
                    experiment = store.experiment_id(self.spec.name)
                    store.mark_killed(experiment, lambda: {self.spec.name: study_store.progress().running})
                    self.statuses += [entry.status for entry in store.stored_runs(experiment)]


def killed() -> dict[str, str]:
    """What identifies a process that ran, and was killed."""
    with subprocess.Popen(["sleep", "600"]) as process:
        identity = {
            **processes.this(),
            "pid": str(process.pid),
            "process_started": processes._started(process.pid) or "",
        }
        lives = processes.is_gone(identity)
        process.kill()
        while processes.is_gone(identity) is False:  # and not only once its parent has asked for its exit status
            time.sleep(0.01)
    assert (lives, processes.is_gone(identity)) == (False, True)
    return identity


@pytest.mark.fault
def test_a_step_of_the_clock_takes_no_trial_that_is_being_trained(tiny: dict[str, Any], shared_home: Path) -> None:
    base = {**tiny, "data": {**tiny["data"], "seed": 1415}}
    fields = {"name": "clocks", "base": base, "space": {"model.depth": [1, 2]}, "sampler": "grid"}
    second = Second(load_study(fields), Home.open(shared_home))
    result = longlag.sweep(fields, home=shared_home, callbacks=[second])
    assert second.found == [[], [second.dead[0]], [], [second.dead[1]], [], [second.dead[2]]]
    assert second.statuses == ["RUNNING"] * len(STEPS)
    assert [trial.state for trial in result.trials] == ["complete", "complete"]
    assert result.hours < 0.1


@pytest.fixture
def study_store(tiny: dict[str, Any], tmp_path: Path) -> Iterator[StudyStore]:
    fields = {"name": "watched", "base": tiny, "space": {"model.depth": [1, 2]}, "sampler": {"name": "grid"}}
    with no_experimental_warnings():
        opened = StudyStore.open(load_study(fields), f"sqlite:///{tmp_path / 'studies.db'}")
    with closing(opened.storage):
        yield opened


def running(study_store: StudyStore, process: Mapping[str, str]) -> optuna.Trial:
    """A trial that this process runs."""
    with no_experimental_warnings():
        trial = study_store.study.ask()
    study_store.storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr("process", dict(process))
    return trial


def test_which_processes_are_gone(study_store: StudyStore) -> None:
    here = processes.this()
    held = {
        "reused number": {**here, "process_started": "1"},
        "before a restart": {**here, "boot": "another"},
        "another container": {**here, "pid_namespace": "pid:[1]"},
        "another machine": ANOTHER,
        "alive": {
            **here,
            "pid": str(psutil.Process().ppid()),
            "process_started": processes._started(psutil.Process().ppid()) or "",
        },
    }
    numbers = {name: running(study_store, process).number for name, process in held.items()}
    assert study_store.dead() == [numbers["reused number"], numbers["before a restart"]]


@pytest.mark.fault
def test_a_heartbeat_that_stands_still_is_found_without_a_clock_that_can_be_set(
    study_store: StudyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    trial = running(study_store, ANOTHER)

    def look(*seconds: float) -> list[list[int]]:
        found = []
        for wait in seconds:
            now[0] += wait
            found.append(study_store.dead())
        return found

    with clock_stepped(study_store.storage, 86400):
        assert look(0, 60, 60, 30) == [[]] * 4
        study_store.storage.record_heartbeat(trial._trial_id)
        assert look(30, 60, 60) == [[]] * 3, "the heartbeat came"
        assert look(100_000) == [[trial.number]], "three looks found the same heartbeat"
        study_store.storage.record_heartbeat(trial._trial_id)
        with study_store.storage.engine.begin() as connection:  # which is written to the second
            connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '1 seconds')")
        assert look(0, 100_000) == [[], []], "this process slept, and the other one may have slept as long"


@pytest.mark.fault
def test_between_machines_the_clock_of_the_database_counts(
    storage: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"name": "zones", "base": tiny, "space": {"model.depth": [1, 2]}, "sampler": {"name": "grid"}}
    monkeypatch.setenv("PGTZ", "Pacific/Auckland")
    with no_experimental_warnings():
        there = StudyStore.open(load_study(fields), address(storage))
    with closing(there.storage):
        trial, lost = running(there, ANOTHER), running(there, ANOTHER)
        there.storage.record_heartbeat(trial._trial_id)
        with there.storage.engine.begin() as connection:
            old = "UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '1 hour'"
            connection.exec_driver_sql(f"{old} WHERE trial_id = {lost._trial_id}")
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 86400)
        for zone in ("Pacific/Auckland", "America/Los_Angeles", "UTC"):
            monkeypatch.setenv("PGTZ", zone)
            here = StudyStore.stored("zones", address(storage))
            with closing(here.storage):
                assert here.dead() == [lost.number]


def test_without_proc_processes_are_found_by_ps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(processes, "BOOT", ("echo", "a-boot"))
    processes.boot.cache_clear()
    try:
        here = processes.this()
        assert (here["boot"], here["pid_namespace"]) == ("a-boot", "")
        assert here["process_started"] and processes.is_gone(here) is False
        assert processes.is_gone({**here, "process_started": "Thu Jan  1 00:00:00 1970"}) is True
        assert processes.is_gone({**here, "boot": "another"}) is None
        killed()
    finally:
        processes.boot.cache_clear()
    monkeypatch.setattr(processes, "boot", lambda: "")  # neither: heartbeats alone count
    assert processes.is_gone(here) is None and not processes.is_of_earlier_boot(here)
