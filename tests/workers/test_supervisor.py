"""The supervisor: the numbers of one process, workers that die, requests that fail, and a stop that saves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from longlag.errors import UserError
from longlag.spec import load_run
from longlag.study.generators import GeneratorSearch, each
from longlag.tracking import study_run
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.workers.launchers import Launcher
from longlag.workers.launchers.in_process import InProcess
from longlag.workers.launchers.local import LocalProcesses
from longlag.workers.process import environment
from longlag.workers.requests import Execution, Failure, Interrupted, RunRequest, WorkerCallback, WorkerConfig
from longlag.workers.supervisor import DEATHS, PATIENCE, Supervisor
from longlag.workspace import Workspace

FIELDS: dict[str, Any] = {
    "task": {"name": "adding", "length": 10},
    "cell": "rnn",
    "model": {"hidden_size": 6},
    "data": {"validation": 20, "test": 20},
    "probe": {"curves": False},
}


def requested(seed: int, updates: int = 40) -> RunRequest:
    training = {"batch_size": 10, "updates": updates, "eval_every": 20, "stop_when_solved": False}
    spec = load_run({**FIELDS, "seed": seed, "training": training})
    return RunRequest(spec=spec, name=f"seed {seed}", tags={"mark": str(seed)}, answered=True)


def opened(home: Path) -> tuple[WorkerConfig, Store]:
    store = Workspace.open(home).store()
    experiment = store.experiment("supervised")
    parent = study_run.begin(store, experiment, "supervised", {"longlag.study": "s", "longlag.study_identity": "s"}, {})
    return WorkerConfig(home=home, tracking_uri=None, experiment=experiment, parent=parent, name="supervised"), store


def supervised(
    requests: Sequence[RunRequest],
    launcher: Launcher,
    place: tuple[WorkerConfig, Store],
    callbacks: Callable[[int], list[WorkerCallback]] = lambda slot: [],
) -> list[Execution]:
    search = GeneratorSearch([each(requests)])
    Supervisor(search, launcher, *place, callbacks, lambda: False).run()
    return search.values[0]


def figures(result: RunResult) -> dict[str, object]:
    return result.model_dump(mode="json", exclude={"wall_seconds", "cpu_seconds"})


class Killer(WorkerCallback):
    """Kills the worker process of the first run that is evaluated, while it waits for an answer; notes the deaths."""

    def __init__(self, launcher: LocalProcesses, slot: int, deaths: list[str]) -> None:
        self.launcher, self.slot, self.deaths = launcher, slot, deaths

    def evaluated(self, update: int, metrics: Any, score: float) -> None:
        if not self.deaths:
            self.deaths.append("")
            os.kill(self.launcher.processes[self.slot].process.pid, signal.SIGKILL)

    def worker_died(self, index: int, how: str) -> None:
        self.deaths.append(how)


@pytest.mark.fault
@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one_though_one_is_killed(tmp_path: Path) -> None:
    requests = [requested(seed) for seed in range(3)]
    alone = supervised(requests, InProcess(), opened(tmp_path / "one"))
    launcher = LocalProcesses(2)
    deaths: list[str] = []
    together = supervised(requests, launcher, opened(tmp_path / "two"), lambda slot: [Killer(launcher, slot, deaths)])
    assert len(deaths) == 2 and deaths[1].startswith("signal 9; see ")
    assert [figures(done.result) for done in together] == [figures(done.result) for done in alone]
    assert [done.result.run_key for done in together] == [request.spec.run_key for request in requests]
    launcher = LocalProcesses(2)
    (found,) = supervised(requests[1:2], launcher, opened(tmp_path / "two"))
    assert not found.trained
    assert not launcher.processes, "it was found: no process was started for it"


@pytest.mark.slow
def test_a_stop_saves_the_runs_of_both_workers(tmp_path: Path) -> None:
    place = opened(tmp_path / "home")
    begun: set[int] = set()

    class Notes(WorkerCallback):
        def __init__(self, slot: int) -> None:
            self.slot = slot

        def evaluated(self, update: int, metrics: Any, score: float) -> None:
            begun.add(self.slot)

    search = GeneratorSearch([each([requested(seed, 100_000) for seed in range(3)])])
    launcher = LocalProcesses(2)
    loop = Supervisor(search, launcher, *place, lambda slot: [Notes(slot)], lambda: begun == {0, 1})
    with pytest.raises(Interrupted):
        loop.run()
    assert len(list((tmp_path / "home" / "checkpoints").glob("*/*.json"))) == 2
    assert not launcher.processes
    assert "RUNNING" not in {entry.status for entry in place[1].stored_runs(place[0].experiment)}


@pytest.mark.parametrize("launcher", [InProcess(), LocalProcesses(2)], ids=["in process", "local"])
def test_a_mistake_is_one_sentence(launcher: Launcher, tmp_path: Path) -> None:
    wrong = load_run({**FIELDS, "training": {"kernel": "compiled", "dtype": "bfloat16"}})
    with pytest.raises(UserError, match=r"training\.kernel"):
        supervised([RunRequest(spec=wrong)], launcher, opened(tmp_path / "home"))


class Wanted:
    """A search for some runs that notes what becomes of them."""

    def __init__(self, requests: Sequence[RunRequest]) -> None:
        self.waiting, self.running = list(requests), set[int]()
        self.outcomes: list[Execution | Failure] = []
        self.abandoned = ""

    def ask(self, slot: int) -> RunRequest | None:
        self.running |= {slot} if self.waiting else set()
        return self.waiting.pop(0) if self.waiting else None

    def evaluated(self, slot: int, update: int, score: float, earlier: bool) -> str | None:
        return f"enough at {update}"

    def tell(self, slot: int, outcome: Execution | Failure) -> None:
        self.running.remove(slot)
        self.outcomes.append(outcome)

    def abandon(self, reason: str) -> None:
        self.abandoned = reason

    def finished(self) -> bool:
        return not self.waiting and not self.running


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [InProcess(), LocalProcesses(2)], ids=["in process", "local"])
def test_a_search_prunes_runs_that_wait_for_its_answer(launcher: Launcher, tmp_path: Path) -> None:
    search = Wanted([requested(0)])
    Supervisor(search, launcher, *opened(tmp_path / "home"), lambda slot: [], lambda: False).run()
    (done,) = search.outcomes
    assert isinstance(done, Execution)
    assert (done.result.outcome, done.result.reason, done.result.updates) == ("pruned", "enough at 20", 20)


class Dying(LocalProcesses):
    """Workers that die as soon as they have a request; those of other slots live."""

    def __init__(self, slots: set[int]) -> None:
        super().__init__(2)
        self.slots = slots

    def run(self, slot: int, request: RunRequest) -> None:
        if slot in self.slots:
            self.processes[slot].process.kill()
        else:
            super().run(slot, request)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes that import nothing heavy: they say that they are ready, and wait."""
    code = "import sys; print('[\"ready\"]', flush=True); sys.stdin.read()"
    popen = subprocess.Popen

    def start(command: list[str], **named: Any) -> Any:
        return popen([sys.executable, "-c", code], **named)

    monkeypatch.setattr(subprocess, "Popen", start)


@pytest.mark.fault
def test_a_run_whose_workers_die_fails_and_a_row_of_deaths_ends_everything(tmp_path: Path, quick: None) -> None:
    search = Wanted([requested(0)])
    launcher = Dying({0, 1})
    Supervisor(search, launcher, *opened(tmp_path / "home"), lambda slot: [], lambda: False).run()
    (failed,) = search.outcomes
    assert isinstance(failed, Failure)
    assert failed.reason.startswith(f"its worker process died {DEATHS + 1} times (signal 9; see ")
    search = Wanted([requested(seed) for seed in range(4)])  # so many deaths end one run, so three may have begun
    loop = Supervisor(search, Dying({0, 1}), *opened(tmp_path / "home"), lambda slot: [], lambda: False)
    with pytest.raises(RuntimeError, match=rf"{PATIENCE} workers in a row died \(signal 9; see .*: it said nothing"):
        loop.run()
    assert search.abandoned and search.waiting


def test_a_worker_never_finds_modules_beside_the_script_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "scripts" / "run.py")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path), str(tmp_path / "scripts"), str(kept)]))
    assert environment(1)["PYTHONPATH"] == str(kept)
