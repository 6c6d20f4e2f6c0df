"""What a study returns."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

from optuna.study import StudyDirection
from pydantic import BaseModel, ConfigDict

from longlag.spec import Direction, StudySpec
from longlag.training import RunResult

State = Literal["complete", "pruned", "failed", "running", "lost", "waiting"]


class TrialResult(BaseModel):
    """One point of the space.

    Attributes:
        number: of the Optuna trial.
        point: dotted path of a field -> its value here.
        state: ``failed`` says that a run raised an exception or was interrupted; a diverged run is ``complete``;
            ``lost`` is one whose process died, or whose figures are gone, until the next sweep takes it up again.
        objective: the first of the study's objectives; by default the mean over the seeds of the score on the
            validation split (perfect 0, trivial predictor 1, infinity for a diverged run); None while not complete.
        objectives: all of them by name; of a pruned trial the score that it had reached, where it had one.
        reason: why it failed or was pruned.
        runs: one a seed, in the order of the study's seeds; fewer when it is not complete.
        run_ids: the same in the tracking store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    number: int
    point: dict[str, Any]
    state: State
    objective: float | None
    objectives: dict[str, float] = {}
    reason: str
    runs: tuple[RunResult, ...]
    run_ids: tuple[str, ...]


class StudyResult(BaseModel):
    """A study at one moment.

    Attributes:
        spec: what was asked for.
        trials: the finished ones from the best to the worst by the first objective, those of the Pareto front before
            the others; then those that are not finished.
        front: with several objectives, the numbers of the trials that no other is better than in all of them.
        directions: of the study's objectives, in order.
        adaptive: whether the sampler chose later points by the results of earlier ones.
        total: how many trials it is to have at most; None where only a budget ends it.
        updates: made by its runs that ended, of `StudySpec.total_updates`.
        hours: in which a trial was running, of `StudySpec.hours`.
        finished: nothing is left to do.
        experiment: id in the tracking store.
        tracking_uri: the store, without its password.
        missing: what could not be made of it at its end, such as a picture: a sentence each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    spec: StudySpec
    trials: tuple[TrialResult, ...]
    front: tuple[int, ...] = ()
    directions: tuple[Direction, ...] = ("minimize",)
    adaptive: bool = False
    total: int | None
    updates: int = 0
    hours: float = 0.0
    finished: bool = True
    experiment: str
    tracking_uri: str
    missing: tuple[str, ...] = ()

    @property
    def failed(self) -> list[TrialResult]:
        return [trial for trial in self.trials if trial.state == "failed"]

    @property
    def done(self) -> int:
        """Trials that are complete or pruned."""
        return sum(trial.state in ("complete", "pruned") for trial in self.trials)

    @property
    def remaining(self) -> int | None:
        """Trials that are still to be done, or to be done again; None where only a budget ends the study."""
        if self.finished and not self.failed:
            return 0
        return None if self.total is None else max(0, self.total - self.done)

    @property
    def best(self) -> TrialResult | None:
        """By the first objective."""
        first = self.trials[0] if self.trials else None
        return first if first is not None and first.state == "complete" else None


def ordered(
    trials: Sequence[TrialResult], front: Collection[int] = (), direction: StudyDirection = StudyDirection.MINIMIZE
) -> tuple[TrialResult, ...]:
    """Complete trials by the first objective, those of the front first, then pruned, running, lost, waiting, failed."""
    sign = 1 if direction is StudyDirection.MINIMIZE else -1
    states = ("complete", "pruned", "running", "lost", "waiting", "failed")

    def key(trial: TrialResult) -> tuple[int, bool, float, int]:
        value = math.inf if trial.objective is None else sign * trial.objective
        return states.index(trial.state), trial.number not in front, value, trial.number

    return tuple(sorted(trials, key=key))
