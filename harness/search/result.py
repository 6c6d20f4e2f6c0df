"""What a study returns, and what it tells on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.spec import RunSpec, StudySpec
from harness.training import Listener, RunResult

State = Literal["complete", "pruned", "failed", "running", "waiting"]


class TrialResult(BaseModel):
    """One point of the space.

    Attributes:
        number: of the Optuna trial.
        point: dotted path of a field -> its value here.
        state: ``failed`` says that a run raised an exception or was interrupted; a diverged run is ``complete``.
        objective: mean over the seeds of the score on the validation split (perfect 0, trivial predictor 1, infinity
            for a diverged run); None while the trial is not complete.
        reason: why it failed or was pruned.
        runs: one a seed, in the order of the study's seeds; fewer when it is not complete.
        run_ids: the same in the tracking store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    number: int
    point: dict[str, Any]
    state: State
    objective: float | None
    reason: str
    runs: tuple[RunResult, ...]
    run_ids: tuple[str, ...]


class StudyResult(BaseModel):
    """A study as it stands.

    Attributes:
        spec: what was asked for.
        trials: the finished ones from the best to the worst, then the others.
        total: how many trials it is to have.
        experiment: id in the tracking store.
        tracking_uri: the store.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    spec: StudySpec
    trials: tuple[TrialResult, ...]
    total: int
    experiment: str
    tracking_uri: str

    @property
    def failed(self) -> list[TrialResult]:
        return [trial for trial in self.trials if trial.state == "failed"]

    @property
    def remaining(self) -> int:
        """Trials that are still to be done, or to be done again."""
        return max(0, self.total - sum(trial.state in ("complete", "pruned") for trial in self.trials))

    @property
    def best(self) -> TrialResult | None:
        first = self.trials[0] if self.trials else None
        return first if first is not None and first.state == "complete" else None


def objective(result: RunResult) -> float:
    """What Optuna minimises: the score on the validation split; infinity for a run that diverged."""
    if result.outcome == "diverged" or not result.validation:
        return math.inf
    score = result.spec.task.build().score(result.validation)
    return float(score) if math.isfinite(score) else math.inf


def ordered(trials: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """Complete trials by objective, then pruned, running, waiting and failed ones."""
    states = ("complete", "pruned", "running", "waiting", "failed")

    def key(trial: TrialResult) -> tuple[int, float, int]:
        value = math.inf if trial.objective is None else trial.objective
        return states.index(trial.state), value, trial.number

    return tuple(sorted(trials, key=key))


class Watcher(Listener):
    """What wants to know how a sweep goes on; between `run_started` and `finished` it is told of the run as well."""

    def study_started(self, spec: StudySpec, done: int, total: int) -> None:
        """Before the first trial; `done` of `total` were finished before."""

    def trial_started(self, number: int, point: Mapping[str, Any]) -> None:
        """A point was chosen."""

    def run_started(self, spec: RunSpec) -> None:
        """One of its runs begins to train; not called for a run that had finished before."""

    def trial_ended(self, number: int, state: State, objective: float | None, reason: str) -> None:
        """It is finished, pruned, or failed."""

    def worker(self, index: int) -> Watcher:
        """Who is told what one of several workers does. They tell less: no `started`, `flow` and `predicted`."""
        return self

    def worker_died(self, index: int, how: str) -> None:
        """A worker process ended; its trial is put back, and another process takes its place."""
