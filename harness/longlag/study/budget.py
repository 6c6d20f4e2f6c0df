"""What a study has used up, read from its trials in Optuna's storage: it outlives every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from longlag.spec import StudySpec

UPDATES, HOLDS, LIVED = "updates", "holds", "lived"
"""Attributes of a trial: updates of its finished runs, the most that all of its runs may make, seconds it ran."""


@dataclass(frozen=True)
class Spent:
    """What a study has used up.

    Args:
        updates: over all runs that ended, also of those that had been trained for another study.
        held: further updates that the running trials may make at most.
        hours: in which at least one trial was running; pauses between sweeps are none.
    """

    updates: int = 0
    held: int = 0
    hours: float = 0.0

    def room(self, spec: StudySpec) -> bool:
        """Whether another trial may begin."""
        within = spec.total_updates is None or self.updates + self.held < spec.total_updates
        return within and (spec.hours is None or self.hours < spec.hours)

    def share(self, spec: StudySpec) -> float:
        """Of the budget that is nearest to its end; 0 without one."""
        of_updates = self.updates / spec.total_updates if spec.total_updates else 0.0
        return max(of_updates, self.hours / spec.hours if spec.hours else 0.0)


def spent(current: Sequence[FrozenTrial], everything: Sequence[FrozenTrial]) -> Spent:
    """Of a study.

    Args:
        current: its trials without those that were taken up again as another one, whose runs that one finds again.
        everything: with them: their time has passed.
    """
    updates = sum(trial.user_attrs.get(UPDATES, 0) for trial in current)
    running = [trial for trial in current if trial.state is TrialState.RUNNING]
    held = sum(max(0, trial.user_attrs.get(HOLDS, 0) - trial.user_attrs.get(UPDATES, 0)) for trial in running)
    return Spent(updates, held, _union([_interval(trial) for trial in everything]) / 3600)


def _interval(trial: FrozenTrial) -> tuple[float, float]:
    """From its start to as long afterwards as it ran: a crash may be found out days later, and clocks may be set."""
    if trial.datetime_start is None:
        return (0.0, 0.0)
    start = trial.datetime_start.timestamp()
    return start, start + float(trial.user_attrs.get(LIVED, 0))


def _union(intervals: Sequence[tuple[float, float]]) -> float:
    """Seconds that at least one of them covers."""
    total, reached = 0.0, 0.0
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
