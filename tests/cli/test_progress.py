"""What a sweep shows while it runs: every worker's trial and run, the latest trials, and the time left."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from longlag.cli import progress
from longlag.cli.progress import SweepProgress
from longlag.spec import load_run, load_study


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def screen(shown: SweepProgress) -> str:
    console = Console(file=io.StringIO(), width=140, force_terminal=False)
    console.print(shown.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


BASE: dict[str, Any] = {"task": "adding", "training": {"updates": 200, "eval_every": 100}}


def sweeping(**bounds: Any) -> SweepProgress:
    spec = load_study({"name": "seen", "base": BASE, "space": {"cell": ["rnn", "lstm"], "clip.norm": [1, 2]}, **bounds})
    shown = SweepProgress()
    shown.console = Console(file=io.StringIO(), width=140)
    shown.study_started(spec, 1, bounds.get("trials"))
    shown.budget(400, 0.5)
    return shown


def test_two_workers_and_the_time_left(clock: Clock) -> None:
    shown = sweeping(trials=4)
    for index, cell in enumerate(("rnn", "lstm")):
        lane = shown.worker(index)
        lane.trial_started(index + 1, {"cell": cell, "clip.norm": 1})
        lane.run_started(load_run({**BASE, "cell": cell}))
        lane.measured(1, {"train/loss": 0.5})
    clock.now += 10
    shown.worker(0).measured(50, {"train/loss": 0.25})
    text = screen(shown)
    assert "seen" in text
    assert "1 of 4 trials, 10 s" in text
    assert "trial 1: rnn, norm 1" in text
    assert "trial 2: lstm, norm 1" in text
    assert "update 50 of 200, loss 0.25" in text
    assert "at most 30 s left" in text  # 50 updates in 10 s, 150 to go
    clock.now += 10
    shown.worker(0).trial_ended(1, "complete", 0.5, "")
    text = screen(shown)
    assert "2 of 4 trials, 20 s, about 40 s left" in text  # one trial in 20 s, two to go
    assert "trial 1: rnn, norm 1: 50 % of trivial" in text
    assert "trial 2: lstm" in text
    shown.worker(1).trial_ended(2, "failed", None, "MemoryError: no room")
    assert "failed: MemoryError: no room" in screen(shown)


@pytest.mark.parametrize(
    ("bounds", "said", "left"),
    [
        ({"hours": 1.0}, "of 1.0 hours", "about 28 min 20 s left"),  # half an hour was used before, 100 s now
        ({"total_updates": 1000}, "of 1,000 updates", "about 1 min 40 s left"),  # 300 of 600 in 100 s
        ({"total_updates": 1000, "trials": 3}, "of 3 trials or 1,000 updates", "about 1 min 40 s left"),
    ],
)
def test_the_first_bound_to_be_reached_says_how_long(
    bounds: dict[str, Any], said: str, left: str, clock: Clock
) -> None:
    shown = sweeping(sampler={"name": "random"}, **bounds)
    clock.now += 100
    shown.updates += 300
    if "trials" in bounds:
        shown.done += 1
    text = screen(shown)
    assert said in text
    assert left in text


def test_an_objective_that_is_no_score_goes_by_its_name(clock: Clock) -> None:
    shown = sweeping(trials=4, objectives=["updates_to_solved"])
    shown.worker(0).trial_started(1, {"cell": "rnn"})
    shown.worker(0).trial_ended(1, "complete", 400.0, "")
    assert "trial 1: rnn: updates_to_solved 400" in screen(shown)
