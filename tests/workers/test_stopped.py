"""Processes that are stopped for longer than their heartbeat, and continued."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import longlag
from longlag.study.callback import StudyCallback
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from tests.workers.processes import worker_process

HEARTBEAT = 1  # seconds; three missed ones, and a trial may be taken over


def study(name: str, updates: int) -> dict[str, Any]:
    base = {
        "task": {"name": "adding", "length": 10},
        "cell": "rnn",
        "model": {"hidden_size": 6},
        "training": {"batch_size": 10, "updates": updates, "eval_every": 20, "stop_when_solved": False},
        "data": {"validation": 20, "test": 20},
        "probe": {"curves": False, "log_every": 20},
    }
    pruner = {"name": "median", "startup_trials": 1000}  # a run waits for an answer after an evaluation
    space = {"model.depth": [1, 2, 3, 4]}
    return {"name": name, "base": base, "space": space, "sampler": {"name": "grid"}, "pruner": pruner}


def objectives(result: Any) -> dict[str, float]:
    assert (result.remaining, result.failed) == (0, [])
    return {json.dumps(trial.point): trial.objective for trial in result.trials}


class Stops(StudyCallback):
    """Stops a worker process when its first run is evaluated, and continues it after four heartbeats."""

    def __init__(self, study: str, slot: int, stopped: list[int], died: list[str]) -> None:
        self.study, self.slot, self.stopped, self.died = study, slot, stopped, died

    def worker(self, index: int) -> StudyCallback:
        return Stops(self.study, index, self.stopped, self.died)

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        if not self.stopped:
            process = worker_process(self.study, self.slot)
            self.stopped.append(process.pid)
            process.suspend()
            threading.Timer(4 * HEARTBEAT, process.resume).start()

    def worker_died(self, index: int, how: str) -> None:
        self.died.append(how)


@pytest.mark.fault
@pytest.mark.slow
def test_a_worker_that_is_stopped_and_continued_loses_nothing(tmp_path: Path) -> None:
    fields, home = study("stopped", 100), Home.open(tmp_path / "home")
    stops = Stops("stopped", 0, [], [])
    result = longlag.sweep(fields, home=home.root, workers=2, heartbeat_seconds=HEARTBEAT, callbacks=[stops])
    assert len(stops.stopped) == 1 and not stops.died
    states = [trial.state.name for trial in StudyStore.stored("stopped", home.optuna_url).study.get_trials()]
    assert states == ["COMPLETE"] * 4, "its driver gives the heartbeat"
    assert objectives(result) == objectives(longlag.sweep(fields, home=tmp_path / "whole"))
