"""A study as a search: Optuna proposes points, each is one trial of a run a seed, and several hosts may share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from longlag import optuna_private, processes, registry, samplers
from longlag.analysis.result import State
from longlag.errors import UserError, one_line
from longlag.log import log
from longlag.objectives import mean, objective_value
from longlag.spec import RunSpec, StudySpec
from longlag.study import budget, space
from longlag.study.callback import StudyCallback
from longlag.study.describe import arm_of, run_name, run_tags
from longlag.study.figures import NO_RUN_ID
from longlag.study.heartbeats import Heartbeat
from longlag.study.size import sized
from longlag.study.store import StudyStore
from longlag.training import RunResult
from longlag.workers.requests import Execution, Failure, RunRequest

RANKED_LAST = 1e9
"""In place of infinity, the score of a diverged run, where only ranks count and Optuna takes no infinity."""
TAKEN_OVER = "it gave no sign of life for a while, and another process took it over"


@dataclass
class RunningTrial:
    """A trial that this process runs.

    Args:
        trial: Optuna's.
        specs: its runs, one a seed.
        executions: of those that have ended.
        reported: updates at which Optuna has its score.
    """

    trial: optuna.Trial
    specs: Sequence[RunSpec]
    executions: list[Execution] = field(default_factory=list)
    reported: set[int] = field(default_factory=set)


class StudySearch:
    """Asks for the runs of one trial after another until the study is finished, whoever else works on it.

    Args:
        study_store: the study.
        callbacks: those of a worker slot.
    """

    def __init__(self, study_store: StudyStore, callbacks: Callable[[int], Sequence[StudyCallback]]) -> None:
        self.study_store, self.callbacks = study_store, callbacks
        self.spec: StudySpec = study_store.spec
        self.running: dict[int, RunningTrial] = {}
        """By worker slot."""
        self.known = 0
        """How many of the study's known points were queued or tried."""
        self.heartbeat = Heartbeat(study_store.storage)
        self.one_objective = len(self.spec.objectives) == 1  # Optuna takes reports of one number only

    # -- what the supervisor calls ------------------------------------------------------------------------------------

    def ask(self, slot: int) -> RunRequest | None:
        running = self.running.get(slot)
        while running is None:
            with self.study_store.lock():
                progress = self.study_store.recovered()
                if progress.finished:
                    return None
                progress.give_up_if_only_fails()
                if not progress.remaining:
                    return None
                self.known, queued = self.study_store.enqueue(self.known, progress.everything)
                trial, point = self.propose(len(progress.everything) + queued)
            running = self.begin(slot, trial, point)
        return self.request(running)

    def evaluated(self, slot: int, update: int, score: float, earlier: bool) -> str | None:
        running = self.running[slot]
        if len(running.specs) > 1 or not self.one_objective:
            return None
        try:
            if update not in running.reported:  # a run that continues from a checkpoint comes by again
                running.reported.add(update)
                running.trial.report(score, update)
            if earlier or not running.trial.should_prune():
                return None
        except Exception:
            if self.study_store.taken_over(running.trial.number):
                return TAKEN_OVER
            raise
        return f"score {score:.3g} at update {update} is worse than the other trials' there"

    def tell(self, slot: int, outcome: Execution | Failure) -> None:
        running = self.running[slot]
        try:
            if isinstance(outcome, Failure):
                self.end(slot, "failed", outcome.reason)
            else:
                self.record(slot, running, outcome)
        except Exception:
            if not self.study_store.taken_over(running.trial.number):  # while this machine slept, or was cut off
                raise
            self.drop(slot, TAKEN_OVER)

    def abandon(self, reason: str) -> None:
        for slot, running in list(self.running.items()):
            self.drop(slot, reason)
            try:
                with self.study_store.lock():
                    self.study_store.requeue(running.trial.number)
            except Exception as error:  # a database that is gone must not hide why the study ends
                log.info("trial %d is not queued again: %s", running.trial.number, error, exc_info=True)
        self.heartbeat.close()

    def finished(self) -> bool:
        return self.study_store.progress().finished

    # -- a trial ------------------------------------------------------------------------------------------------------

    def propose(self, count: int) -> tuple[optuna.Trial, dict[str, Any]]:
        """A new trial and its point. Hold the lock: who finds a trial without a process finds one whose process died.

        Args:
            count: of the study's trials.

        Raises:
            UserError: when the sampler fails; it would fail for the next trial as well.
        """
        study = self.study_store.study
        try:
            with self.study_store.storage.as_read(), self.sampling():
                study.sampler = samplers.build(self.spec, count)
                trial = study.ask()
        except UserError:
            self.study_store.recover_orphans()  # the sampler may have failed when the trial had been made
            raise
        try:
            self.heartbeat.add(
                trial
            )  # first: one that has a process and no heartbeat could never be found dead elsewhere
            trial.set_user_attr("process", processes.this())
            # one that waited does so still in what was read, and a grid finds only running ones
            read = nullcontext() if optuna_private.was_queued(trial) else self.study_store.storage.as_read()
            with read, self.sampling():
                point = space.suggest(trial, self.spec.space)
            if self.spec.total_updates is not None:
                trial.set_user_attr(budget.HOLDS, self.most(point))
        except BaseException:
            self.heartbeat.remove(trial)
            try:
                self.study_store.requeue(trial.number)
            except Exception as error:  # a database that is gone must not hide what went wrong
                log.info("trial %d is not queued again: %s", trial.number, error, exc_info=True)
            raise
        return trial, point

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """What is inside is the sampler's work.

        Raises:
            UserError: when it fails.
        """
        try:
            yield
        except (UserError, optuna.exceptions.StorageInternalError, SQLAlchemyError):
            raise
        except Exception as error:
            log.info("the sampler failed: %s", error, exc_info=True)
            name = registry.raised_by(error) or f"the sampler {self.spec.sampler.name}"
            raise UserError(f"{name} proposes no point: {one_line(error)}") from error

    def begin(self, slot: int, trial: optuna.Trial, point: Mapping[str, Any]) -> RunningTrial | None:
        """The trial's runs; None when its point is refused, which fails the trial."""
        for callback in self.callbacks(slot):
            callback.trial_started(trial.number, point)
        running = self.running[slot] = RunningTrial(trial, [])
        try:
            running.specs = self.specs(point)
        except UserError as error:
            self.tell(slot, Failure(str(error)))
            return None
        trial.set_user_attr("run_keys", [spec.run_key for spec in running.specs])
        return running

    def specs(self, point: Mapping[str, Any]) -> list[RunSpec]:
        specs = [self.spec.run(dict(point), seed) for seed in self.spec.seeds]
        target = self.spec.parameters
        return specs if target is None else [sized(spec, target) for spec in specs]

    def most(self, point: Mapping[str, Any]) -> int:
        """Updates that a trial may make at most."""
        try:
            return len(self.spec.seeds) * self.spec.run(dict(point), self.spec.seeds[0]).training.updates
        except UserError:  # it will fail at once
            return 0

    def request(self, running: RunningTrial) -> RunRequest:
        """The run of the trial's next seed."""
        trial, spec = running.trial, running.specs[len(running.executions)]
        arm = arm_of(trial.params, self.spec)
        tags = run_tags(self.spec.name, trial.number, arm)
        answered = self.one_objective and len(running.specs) == 1 and self.spec.pruner.name != "none"
        return RunRequest(spec=spec, name=run_name(trial.number, spec, arm), tags=tags, answered=answered)

    def record(self, slot: int, running: RunningTrial, execution: Execution) -> None:
        """One run has ended; the trial too, if it was the last one or is pruned."""
        running.executions.append(execution)
        trial, results = running.trial, [each.result for each in running.executions]
        done = {"run_ids": [each.run_id or NO_RUN_ID for each in running.executions]}
        self.heartbeat.note(trial, **done, **{budget.UPDATES: sum(result.updates for result in results)})
        last = execution.result
        if last.outcome == "pruned":
            self.end(slot, "pruned", last.reason)
            return
        total = len(running.specs)
        if total > 1 and self.one_objective:
            trial.report(self.interim(results), len(results))
            if len(results) < total and trial.should_prune():
                self.end(slot, "pruned", f"after {len(results)} of {total} seeds")
                return
        if len(results) == total:
            self.end(slot, "complete", "", [mean(name, results) for name in self.spec.objectives])

    def interim(self, results: Sequence[RunResult]) -> float:
        """What the pruner compares after some of the seeds."""
        scores = [objective_value("score", result) for result in results]
        if self.spec.pruner.name == "wilcoxon":  # it compares seed by seed
            return min(scores[-1], RANKED_LAST)
        return sum(scores) / len(scores)

    def end(self, slot: int, state: State, reason: str, values: Sequence[float] | None = None) -> None:
        """Tell Optuna that the trial has ended, then the callbacks."""
        trial = self.running[slot].trial
        if state == "failed" or reason:  # what a run left is written down already
            self.heartbeat.note(trial, **({"reason": reason} if reason else {}))
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        self.study_store.study.tell(trial, values, states[state])
        self.forget(slot, state, None if values is None else values[0], reason)

    def drop(self, slot: int, reason: str) -> None:
        """The trial ends here and not for Optuna: it is queued again, or another process has taken it over."""
        trial = self.running[slot].trial
        try:
            self.heartbeat.note(trial, reason=reason)
        except Exception as error:  # a full disk, a database that is gone, or a trial that has ended
            log.info("why trial %d ended is not written down: %s", trial.number, error, exc_info=True)
        self.forget(slot, "failed", None, reason)

    def forget(self, slot: int, state: State, objective: float | None, reason: str) -> None:
        trial = self.running.pop(slot).trial
        self.heartbeat.remove(trial)
        for callback in self.callbacks(slot):
            callback.trial_ended(trial.number, state, objective, reason)
