"""What a paper study will cost, before it starts: each arm is timed for a few updates."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from longlag.papers.plan import Entry
from longlag.spec import RunSpec, load_run
from longlag.training import RunCallback, train

UPDATES = 8
FORWARD = 1 / 3
"""Of the time of an update: what the same sequences take in an evaluation."""


@dataclass(frozen=True)
class Cost:
    """Of an arm.

    Args:
        arm: its name.
        runs: how many there are.
        left: how many are still to be trained.
        updates: the budget of each.
        seconds: of one run that uses its budget up; None where nothing is left to train.
    """

    arm: str
    runs: int
    left: int
    updates: int
    seconds: float | None

    @property
    def total(self) -> float:
        return (self.seconds or 0.0) * self.left


class _Clock(RunCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        if "train/loss" in values:
            self.times.append(time.perf_counter())


def of_run(spec: RunSpec) -> float:
    """Seconds of a run that uses up its budget, from a few updates of it; without what its probes take."""
    fields = spec.model_dump(mode="json")
    fields["training"] |= {"updates": UPDATES, "eval_every": UPDATES}
    fields["data"] |= {"validation": 2, "test": 2, "beyond": {}, "curriculum": ()}
    fields["probe"] |= {"log_every": 1, "curves": False, "training": False}
    clock = _Clock()
    train(load_run(fields), [clock])
    steps = [after - before for before, after in zip(clock.times[:-1], clock.times[1:], strict=True)]
    update = statistics.median(steps[1:]) if len(steps) > 1 else 0.0
    sequence = update / spec.training.batch_size * FORWARD
    evaluations = spec.training.updates / spec.training.eval_every
    return update * spec.training.updates + sequence * (evaluations * spec.data.validation + spec.data.test)


def estimate(entries: Sequence[Entry], done: Callable[[RunSpec], bool]) -> list[Cost]:
    """The cost of every arm; `done` says of a run whether it has finished before."""
    arms: dict[str, list[Entry]] = {}
    for entry in entries:
        arms.setdefault(entry.arm, []).append(entry)
    result = []
    for arm, of_arm in arms.items():
        left = [entry for entry in of_arm if not done(entry.spec)]
        seconds = of_run(left[0].spec) if left else None
        result.append(Cost(arm, len(of_arm), len(left), of_arm[0].spec.training.updates, seconds))
    return result
