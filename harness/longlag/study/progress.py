"""How far a study is, from one reading of its trials: a reading takes time for every trial that is running."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from optuna.trial import FrozenTrial, TrialState

from longlag import optuna_private
from longlag.errors import UserError
from longlag.spec import StudySpec
from longlag.study.budget import Spent, spent

FAILURES = 20  # trials in a row, after which a study that only a budget ends is given up


@dataclass(frozen=True)
class Progress:
    """How far a study was when its trials were read.

    Args:
        spec: the study.
        total: how many trials it is to have at most; None where only a budget ends it.
        exhaustive: as the study's sampler is.
        everything: its trials, also those that were taken up again as another one.
    """

    spec: StudySpec
    total: int | None
    exhaustive: bool
    everything: Sequence[FrozenTrial]

    @cached_property
    def trials(self) -> list[FrozenTrial]:
        """Every trial but those that were taken up again as another one."""
        return current(self.everything)

    @cached_property
    def spent(self) -> Spent:
        """What the study has used up."""
        return spent(self.trials, self.everything)

    @cached_property
    def finished_count(self) -> int:
        """Trials that need no more work: finished, pruned, or failed and not taken up again.

        A grid counts points, so that two processes that happened on the same one count it once.
        """
        finished = [trial for trial in self.trials if trial.state.is_finished()]
        return len({frozenset(trial.params.items()) for trial in finished}) if self.exhaustive else len(finished)

    @cached_property
    def running(self) -> set[int]:
        """The numbers of trials that are running."""
        return {trial.number for trial in self.trials if trial.state is TrialState.RUNNING}

    @cached_property
    def remaining(self) -> int:
        """Trials that this process could begin now; those that another one works on are not among them.

        With a budget, as long as there is room: then one. What had begun before is taken up again in any case.
        """
        open_ = math.inf if self.total is None else max(0, self.total - self.finished_count - len(self.running))
        if self.spec.total_updates is None and self.spec.hours is None:
            return int(open_)
        begun = sum(trial.state is TrialState.WAITING and "retry_of" in trial.user_attrs for trial in self.trials)
        return int(min(open_, max(begun, 1 if self.spent.room(self.spec) else 0)))

    @property
    def finished(self) -> bool:
        """Whether every trial of the study is finished, or its budget is used up and none is running."""
        if self.total is not None and self.finished_count >= self.total:
            return True
        return not self.remaining and not self.running

    def give_up_if_only_fails(self) -> None:
        """Refuse to go on where no number of trials ends the study.

        Raises:
            UserError: when the last `FAILURES` trials failed.
        """
        last = [trial for trial in self.trials if trial.state.is_finished()][-FAILURES:]
        if self.total is not None or len(last) < FAILURES or any(t.state is not TrialState.FAIL for t in last):
            return
        raise UserError(
            f"the last {FAILURES} trials failed ({last[-1].user_attrs.get('reason', 'unknown')}), and the study has no "
            "number of trials that would end it; put that right, or give trials"
        )

    def __str__(self) -> str:
        return f"{self.finished_count} {'' if self.total is None else f'of {self.total} '}trials"


def current(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without those that were taken up again as another one, or that ended before they had any value.

    Without axes no trial has a value: one of those whose runs had begun counts.
    """
    trials = list(trials)
    again = replaced(trials)
    begun = (
        trial
        for trial in trials
        if trial.state is not TrialState.FAIL or optuna_private.parameters(trial) or "run_keys" in trial.user_attrs
    )
    return [trial for trial in begun if trial.number not in again]


def replaced(trials: Iterable[FrozenTrial]) -> set[int]:
    """The numbers of trials that were taken up again as another one."""
    return {trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs}
