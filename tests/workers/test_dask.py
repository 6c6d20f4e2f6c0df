"""Workers on a Dask cluster: the results of one machine, whoever is killed, and clear words when it cannot be."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

import longlag
from longlag.errors import UserError
from longlag.spec import RunSpec
from longlag.study.callback import StudyCallback
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.workers.launchers import dask
from longlag.workers.launchers.dask import Dask, threads
from tests.servers.dask import dask_cluster
from tests.workers.processes import worker_process

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")

STUDY: dict[str, Any] = {
    "name": "placed",
    "base": {
        "task": {"name": "adding", "length": 8},
        "model": {"hidden_size": 6},
        "training": {"batch_size": 8, "updates": 60, "eval_every": 30},
        "data": {"validation": 20, "test": 20},
        "probe": {"curves": False, "log_every": 30},
    },
    "space": {"cell": ["rnn", "gru"], "model.depth": [1, 2], "optimizer.lr": [0.001, 0.01]},
    "sampler": {"name": "grid"},
    "pruner": {"name": "median", "startup_trials": 1000},
}


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as address:
        yield address


def figures(result: Any) -> dict[str, Any]:
    runs = [run for trial in result.trials for run in trial.runs]
    other: Any = {"wall_seconds": True, "cpu_seconds": True, "environment": {"git_commit"}}  # may change meanwhile
    found = {run.run_key: run.model_dump(mode="json", exclude=other) for run in runs}
    assert len(found) == len(runs) == 8
    return found


class Killer(StudyCallback):
    """Kills the process of the first run that is evaluated, and at the third evaluation the Dask worker above it.

    They wait for an answer then, so that the victim has a run whatever the machine's speed.
    """

    def __init__(self) -> None:
        self.evaluations = 0
        self.ended: list[str] = []
        self.died: list[str] = []

    def worker(self, index: int) -> StudyCallback:
        return KillerOfSlot(self, index)


class KillerOfSlot(StudyCallback):
    def __init__(self, whole: Killer, slot: int) -> None:
        self.whole, self.slot = whole, slot

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.whole.evaluations += 1
        if self.whole.evaluations in (1, 3):
            process = worker_process("placed", self.slot)
            (process if self.whole.evaluations == 1 else process.parents()[0]).send_signal(signal.SIGKILL)

    def trial_ended(self, number: int, state: Any, objective: float | None, reason: str) -> None:
        self.whole.ended.append(state)

    def worker_died(self, index: int, how: str) -> None:
        self.whole.died.append(how)


@pytest.mark.slow
def test_a_cluster_that_loses_workers_gives_the_results_of_one_worker(scheduler: str, tmp_path: Path) -> None:
    one = longlag.sweep(STUDY, home=tmp_path / "one")
    killer, home, place = Killer(), tmp_path / "placed", Dask(scheduler, {"slot": 1})
    placed = longlag.sweep(STUDY, home=home, workers="auto", executor=place, callbacks=[killer])
    assert figures(placed) == figures(one)
    assert [trial.objective for trial in placed.trials] == [trial.objective for trial in one.trials]
    assert len(killer.died) == 2, killer.died
    assert killer.died[0].startswith("signal 9; see ") and killer.died[1].startswith("Dask lost its worker tcp://")
    assert killer.ended.count("complete") == 8
    states = [t.state.name for t in StudyStore.stored("placed", Home.open(home).optuna_url).study.get_trials()]
    assert states.count("COMPLETE") == 8 and set(states) <= {"COMPLETE", "FAIL"}


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_saves_and_twice_stops_at_once(times: int, scheduler: str, tmp_path: Path) -> None:
    class Stops(StudyCallback):
        left = times

        def run_started(self, spec: RunSpec) -> None:
            for _ in range(self.left):
                os.kill(os.getpid(), signal.SIGINT)
            self.left = 0

    long: Mapping[str, Any] = {**STUDY, "name": "long", "space": {"cell": ["rnn", "gru"]}}
    long["base"]["training"] = {"batch_size": 8, "updates": 100_000, "eval_every": 1000, "stop_when_solved": False}
    home = Home.open(tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        longlag.sweep(long, home=home.root, workers=1, executor=Dask(scheduler), callbacks=[Stops()])
    states = sorted(trial.state.name for trial in StudyStore.stored("long", home.optuna_url).study.get_trials())
    assert "RUNNING" not in states and "WAITING" in states
    assert bool(list(home.checkpoints.glob("*/*.json"))) == (times == 1)


class KillsScheduler(StudyCallback):
    """Kills the scheduler at the first evaluation, while the run waits for an answer."""

    def __init__(self) -> None:
        self.killed = False

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        if not self.killed:
            self.killed = True
            (found,) = [p for p in psutil.Process().children() if "distributed.cli.dask_scheduler" in p.cmdline()]
            found.kill()


@pytest.mark.fault
@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    study = {**STUDY, "name": "unscheduled", "space": {"model.depth": [1, 2]}}
    study["base"] = {**STUDY["base"], "cell": "rnn"}
    home = Home.open(tmp_path / "home")
    with dask_cluster(tmp_path / "dask", workers=1) as address:
        with pytest.raises(UserError, match=r"scheduler tcp://\S+ (went away|does not answer any more); what"):
            longlag.sweep(study, home=home.root, workers=1, executor=Dask(address), callbacks=[KillsScheduler()])
        states = [t.state.name for t in StudyStore.stored("unscheduled", home.optuna_url).study.get_trials()]
        assert "RUNNING" not in states and "WAITING" in states
        result = longlag.sweep(study, home=home.root)
    assert (result.remaining, result.failed) == (0, [])
    whole = longlag.sweep(study, home=tmp_path / "whole")
    assert [trial.objective for trial in result.trials] == [trial.objective for trial in whole.trials]


class Posted:
    """A supervisor that keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, list[Any]]] = []

    def post(self, slot: int, message: list[Any]) -> None:
        self.messages.append((slot, message))


@pytest.mark.fault
def test_no_slot_is_left_open_by_a_scheduler_that_died() -> None:
    """Whoever ends a sweep waits until every slot has ended."""
    workers, posted = dask.DaskWorkers(Dask("tcp://127.0.0.1:9"), 1), Posted()
    workers.supervisor = cast(Any, posted)
    workers.beaten, workers.hosts = math.inf, {0: ("queue", "tcp://127.0.0.1:9")}
    workers.tasks = {0: cast(Any, SimpleNamespace(done=lambda: True, status="cancelled"))}
    with pytest.raises(UserError, match="went away"):
        workers.tick()
    ((slot, (kind, _)),) = posted.messages
    assert (slot, kind) == (0, "ended") and not workers.tasks


@pytest.mark.fault
@pytest.mark.parametrize("status", ["closing", "closed", "running"])
def test_a_client_that_has_given_its_scheduler_up_is_one_sentence(status: str) -> None:
    """Dask's client closes itself when it cannot connect again, and refuses everything with another error."""
    workers = dask.DaskWorkers(Dask("tcp://127.0.0.1:9"), 1)
    workers.client = cast(Any, SimpleNamespace(status=status))
    expected = RuntimeError if status == "running" else UserError
    said = "ConnectionPool is closed" if status == "running" else r"tcp://127.0.0.1:9 does not answer any more; what"
    with pytest.raises(expected, match=said), workers.answering():
        raise RuntimeError("ConnectionPool is closed")


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "CONNECT", 1)
    with pytest.raises(UserError, match=r"scheduler tcp://127.0.0.1:9 does not answer"):
        longlag.sweep(STUDY, home=tmp_path / "home", executor=Dask("tcp://127.0.0.1:9"))


def test_room_is_what_threads_and_resources_allow() -> None:
    class Client:
        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            big = {"nthreads": 4, "resources": {"GPU": 2.0}}
            return {"workers": {"a": big, "b": {"nthreads": 1, "resources": {}}}}

    client: Any = Client()
    assert threads(client, {}) == 5
    assert threads(client, {"GPU": 1}) == 2
    assert threads(client, {"GPU": 0.5}) == 4
