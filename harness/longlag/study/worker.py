"""One worker: it takes a trial after another from the study, whoever else does so too, until all are settled."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import optuna
from pydantic import BaseModel, ConfigDict

from longlag import samplers
from longlag.errors import UserError
from longlag.objectives import mean, measure
from longlag.spec import ARM, RunSpec, StudySpec
from longlag.study import budget, faults, space
from longlag.study import store as study_stores
from longlag.study.liveness import holder
from longlag.study.report import run_name
from longlag.study.result import State, StudyCallback
from longlag.study.size import sized
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import Pruned, RunCallback, RunResult
from longlag.training.checkpoint import SECONDS
from longlag.training.environment import frozen_imports
from longlag.workers.runner import Interrupted, Place, execute

POLL = 1.0  # seconds between two looks at a study in which every trial is taken
ALIVE = 20.0  # seconds between two notes that a trial lives


RANKED_LAST = 1e9
"""In place of infinity, the score of a diverged run, where only ranks count and Optuna takes no infinity."""


class Job(BaseModel):
    """What a worker process is told on its standard input.

    Attributes:
        spec: the study.
        home: folder of the results.
        optuna_url: where the study is kept.
        tracking_uri: the MLflow store; None for the home's own.
        host: where the sweep was started; what is kept in files is there.
        experiment: the study's, there.
        parent: the study's own run, there.
        threads: of torch.
        checkpoint_seconds: between two checkpoints of a run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: StudySpec
    home: Path
    optuna_url: str
    tracking_uri: str | None
    host: str
    experiment: str
    parent: str
    threads: int = 1
    checkpoint_seconds: float | None = SECONDS


class TrialFailed(Exception):
    """What went wrong in one trial; the sweep goes on without it. Its text is the trial's reason."""


class Worker:
    """Takes trials and runs them, in this process.

    Args:
        job: which study, and where.
        study_store: the study.
        store: the tracking store.
        callbacks: told what happens.
        stop: asked often; true ends the run in hand after the next update, saved.
    """

    def __init__(
        self,
        job: Job,
        study_store: StudyStore,
        store: Store,
        callbacks: Sequence[StudyCallback],
        stop: Callable[[], bool],
    ) -> None:
        self.job, self.spec, self.study_store, self.store = job, job.spec, study_store, store
        self.home = Home(job.home)
        self.callbacks, self.stop = callbacks, stop
        self.tags = {"longlag.study": self.spec.name}
        self.number: int | None = None
        self.claim = ExitStack()

    @frozen_imports()
    def go(self) -> None:
        """Until every trial is settled; waits for those that others run, in case they die.

        Raises:
            Interrupted: when `stop` was true; the trial in hand is put back.
        """
        try:
            while not self.stop():
                self.claim.enter_context(self.study_store.lock())
                try:
                    self.study_store.recover_orphans()
                    if self.study_store.finished():
                        return
                    if (reason := self.study_store.only_fails()) is not None:
                        raise UserError(
                            f"the last {study_stores.FAILURES} trials failed ({reason}), and the study has no number "
                            "of trials that would end it; put that right, or give trials"
                        )
                    if self.study_store.remaining():
                        count = len(self.study_store.study.get_trials(deepcopy=False))
                        self.study_store.study.sampler = samplers.build(self.spec, count)
                        self.one()
                        continue
                finally:
                    self.claim.close()
                time.sleep(POLL)
        except BaseException:
            with suppress(Exception), self.study_store.lock():  # a database that is gone must not hide what went wrong
                self.study_store.requeue(self.number)
            raise
        raise Interrupted("stopped by hand")

    def one(self) -> None:
        """One trial, whatever becomes of it."""
        try:
            self.study_store.study.optimize(self.trial, n_trials=1, catch=(TrialFailed,))
        except Exception:
            if not self.study_store.taken_over(self.number):  # while this machine slept, or was cut off
                raise

    # -- one trial --------------------------------------------------------------------------------------------------

    def trial(self, trial: optuna.Trial) -> float | Sequence[float]:
        """What Optuna calls: a point, its runs over the seeds, and the mean of their scores, or of every objective."""
        self.number = trial.number
        trial.set_user_attr("process", holder())
        state: State = "failed"
        value: float | None = None
        reason = ""
        point: dict[str, Any] | None = None
        try:
            point = space.suggest(trial, self.spec.space)
            if self.spec.total_updates is not None:
                trial.set_user_attr(budget.HOLDS, self.most(point))
            self.claim.close()  # the point is taken: others may choose
            for callback in self.callbacks:
                callback.trial_started(trial.number, point)
            runs = self.runs(trial, self.specs(point))
            values = [mean(name, runs) for name in self.spec.objectives]
            state, value = "complete", values[0]
            return values
        except optuna.TrialPruned as pruned:
            state, reason = "pruned", str(pruned)
            raise
        except TrialFailed as error:
            reason = str(error)
            raise
        except (UserError, KeyboardInterrupt) as error:  # the next trial would fare no better
            reason = str(error) or "interrupted"
            raise
        except Exception as error:
            stops = faults.message(error, self.job.home, self.job.optuna_url)
            if stops is not None:
                reason = stops
                raise UserError(reason) from error
            if self.study_store.taken_over(trial.number):
                reason = "it gave no sign of life for a while, and another process took it over"
            else:
                what = "out of memory: " if faults.is_out_of_memory(error) else ""
                where = self.keep_traceback(trial.number)
                reason = f"{what}{type(error).__name__}: {error} (traceback in {where})"
                if point is None:  # nor would the next trial get one
                    raise UserError(f"the sampler {self.spec.sampler.name} proposes no point: {reason}") from error
            raise TrialFailed(reason) from error
        finally:
            with suppress(Exception):  # a full disk, or a trial that was taken over
                trial.set_user_attr(budget.SEEN, time.time())
                if reason:
                    trial.set_user_attr("reason", reason)
            for callback in self.callbacks:
                callback.trial_ended(trial.number, state, value, reason)

    def specs(self, point: Mapping[str, Any]) -> list[RunSpec]:
        try:
            specs = [self.spec.run(dict(point), seed) for seed in self.spec.seeds]
            target = self.spec.parameters
            return specs if target is None else [sized(spec, target) for spec in specs]
        except UserError as error:
            raise TrialFailed(str(error)) from error

    def most(self, point: Mapping[str, Any]) -> int:
        """Updates that a trial may make at most."""
        try:
            return len(self.spec.seeds) * self.spec.run(dict(point), self.spec.seeds[0]).training.updates
        except UserError:  # it will fail at once
            return 0

    def runs(self, trial: optuna.Trial, specs: Sequence[RunSpec]) -> list[RunResult]:
        trial.set_user_attr("run_keys", [spec.run_key for spec in specs])
        one_objective = len(self.spec.objectives) == 1
        results: list[RunResult] = []
        scores: list[float] = []
        run_ids: list[str] = []
        for spec in specs:
            callbacks: list[RunCallback] = [*self.callbacks, _Alive(trial)]
            if len(specs) == 1 and one_objective:  # Optuna takes reports of one number only
                callbacks.append(_Reporter(trial))
            tags = {**self.tags, "longlag.trial": str(trial.number)}
            arm = str(trial.params[ARM]) if ARM in trial.params else None
            if arm is not None:
                tags[ARM] = arm
            place = Place(self.job.experiment, self.job.parent, tags, run_name(trial.number, spec, arm))
            done = execute(
                spec,
                self.store,
                self.home,
                place,
                callbacks=callbacks,
                started=self.run_started,
                interrupted=self.stop,
                checkpoint_seconds=self.job.checkpoint_seconds,
            )
            run_ids.append(done.run_id)
            results.append(done.result)
            trial.set_user_attr("run_ids", run_ids)
            trial.set_user_attr(budget.UPDATES, sum(result.updates for result in results))
            if done.result.outcome == "pruned":
                raise optuna.TrialPruned(done.result.reason)
            scores.append(measure("score", done.result))
            if len(specs) > 1 and one_objective:
                paired = self.spec.pruner.name == "wilcoxon"  # it compares seed by seed
                so_far = sum(scores) / len(scores)
                trial.report(min(scores[-1], RANKED_LAST) if paired else so_far, len(scores))
                if len(scores) < len(specs) and trial.should_prune():
                    raise optuna.TrialPruned(f"after {len(scores)} of {len(specs)} seeds")
        return results

    def run_started(self, spec: RunSpec) -> None:
        for callback in self.callbacks:
            callback.run_started(spec)

    def keep_traceback(self, number: int) -> Path:
        folder = self.home.root / "logs"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.spec.name}-trial{number}.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
        return path


class _Alive(RunCallback):
    """Notes now and then that a trial lives, so that after a crash it is known how long it did."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.last = time.monotonic()

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        if time.monotonic() - self.last > ALIVE:
            self.last = time.monotonic()
            self.trial.set_user_attr(budget.SEEN, time.time())


class _Reporter(RunCallback):
    """Tells Optuna the score at every evaluation, and ends the run when the pruner gives up on it."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial
        self.told: list[tuple[int, float]] = []

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        value = score if math.isfinite(score) else math.inf
        self.told.append((update, value))
        self.trial.report(value, update)
        if self.trial.should_prune():
            raise Pruned(f"score {score:.3g} at update {update} is worse than the other trials' there")

    def saved(self) -> Mapping[str, Any]:
        return {"told": self.told}

    def restored(self, state: Mapping[str, Any]) -> None:
        for update, value in state["told"]:  # the trial that goes on is another one to Optuna
            self.told.append((update, value))
            self.trial.report(value, update)
