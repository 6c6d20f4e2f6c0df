"""A crew: the numbers of one process, a worker that is killed, and a stop that saves."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from longlag.errors import UserError
from longlag.spec import RunSpec, load_run
from longlag.study.result import StudyCallback
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.workers.crew import Asked, Bench, Crew
from longlag.workers.runner import Interrupted

FIELDS = {
    "task": {"name": "adding", "length": 10},
    "cell": "rnn",
    "model": {"hidden_size": 6},
    "data": {"validation": 20, "test": 20},
    "probe": {"curves": False},
}


def asked(seed: int, updates: int = 40) -> Asked:
    training = {"batch_size": 10, "updates": updates, "eval_every": 20}
    spec = load_run({**FIELDS, "seed": seed, "training": training})
    return Asked(spec=spec, name=f"seed {seed}", tags={"mark": str(seed)})


def bench(home: Path) -> tuple[Bench, Store]:
    opened = Home.open(home)
    store = Store.open(opened)
    experiment = store.experiment("crew")
    tags = {"longlag.study": "crew", "longlag.study_identity": "crew"}
    parent = store.parent(experiment, "crew", tags, {})
    return Bench(home=home, tracking_uri=None, experiment=experiment, parent=parent, name="crew"), store


def figures(result: RunResult) -> dict[str, object]:
    return result.model_dump(mode="json", exclude={"wall_seconds", "cpu_seconds"})


class Killer(StudyCallback):
    """Kills the process of the first run that begins."""

    def __init__(self) -> None:
        self.crew: Crew | None = None
        self.deaths: list[str] = []
        self.begun = 0

    def run_started(self, spec: RunSpec) -> None:
        self.begun += 1
        if self.begun == 1 and self.crew is not None:
            process = next(lane.process for lane in self.crew.lanes if lane.process is not None)
            os.kill(process.pid, signal.SIGKILL)

    def worker_died(self, index: int, how: str) -> None:
        self.deaths.append(how)


@pytest.mark.slow
def test_two_workers_give_the_numbers_of_one_though_one_is_killed(tmp_path: Path) -> None:
    wanted = [asked(seed, 400) for seed in range(3)]
    place, store = bench(tmp_path / "one")
    with Crew(place, 1, store, [], lambda: False) as crew:
        tickets = [crew.submit(one) for one in wanted]
        alone = dict(crew.next() for _ in tickets)
    killer = Killer()
    place, store = bench(tmp_path / "two")
    with Crew(place, 2, store, [killer], lambda: False) as crew:
        killer.crew = crew
        assert [crew.submit(one) for one in wanted] == tickets
        together = dict(crew.next() for _ in tickets)
    assert len(killer.deaths) == 1 and "signal 9" in killer.deaths[0]
    for ticket, one in zip(tickets, wanted, strict=True):
        assert together[ticket].result.run_key == one.spec.run_key
        assert figures(together[ticket].result) == figures(alone[ticket].result)
    with Crew(place, 2, store, [], lambda: False) as crew:
        crew.submit(wanted[1])
        assert not crew.next()[1].trained
        assert all(lane.process is None for lane in crew.lanes)  # it was found: no process was started for it


@pytest.mark.slow
def test_a_stop_saves_what_two_workers_have_in_hand(tmp_path: Path) -> None:
    place, store = bench(tmp_path / "home")
    begun = threading.Event()

    class Notes(StudyCallback):
        def run_started(self, spec: RunSpec) -> None:
            begun.set()

    def stop() -> bool:
        return begun.is_set() and time.monotonic() > until

    until = time.monotonic() + 2
    with pytest.raises(Interrupted), Crew(place, 2, store, [Notes()], stop) as crew:
        for seed in range(3):
            crew.submit(asked(seed, 100_000))
        for _ in range(3):
            crew.next()
    assert list((tmp_path / "home" / "checkpoints").glob("*/*.json"))
    assert all(lane.process is None or lane.process.poll() is not None for lane in crew.lanes)
    assert "RUNNING" not in {entry.status for entry in store.recorded(place.experiment)}


def test_a_mistake_is_said_as_one(tmp_path: Path) -> None:
    place, store = bench(tmp_path / "home")
    wrong = load_run({**FIELDS, "training": {"kernel": "compiled", "dtype": "bfloat16"}})
    with pytest.raises(UserError, match=r"training\.kernel"), Crew(place, 1, store, [], lambda: False) as crew:
        crew.submit(Asked(spec=wrong, name="wrong"))
        crew.next()
