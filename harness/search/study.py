"""A study: trials until there are as many as asked for, whoever began them and whatever stopped them."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna

from harness.registry import UserError
from harness.search import ledger, space
from harness.search.ledger import Ledger
from harness.search.report import collect, note, parameters, run_name, summary
from harness.search.result import State, StudyResult, Watcher, objective
from harness.search.runner import RUNS, Place, check, execute, open_home, torch_threads
from harness.spec import RunSpec, StudySpec, load_study
from harness.tracking.home import Home
from harness.tracking.store import Store
from harness.training import Listener, Pruned


class TrialFailed(Exception):
    """What went wrong in one trial; the sweep goes on without it. Its text is the trial's reason."""


def sweep(
    spec: StudySpec | Mapping[str, Any],
    *,
    home: Home | Path | str | None = None,
    tracking_uri: str | None = None,
    threads: int = 1,
    watchers: Sequence[Watcher] = (),
) -> StudyResult:
    """Run a study, or what remains of it: asking again for the same study continues it.

    Args:
        spec: a `StudySpec`, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        threads: of torch; a run's numbers may depend on it in their last bits.
        watchers: told how the sweep goes on.

    Returns:
        The study as it stands at the end; `StudyResult.failed` lists the trials in which something went wrong.

    Raises:
        UserError: for a spec, home or server that is wrong, and when another study has this name.
        KeyboardInterrupt: after Ctrl-C; the trial is marked as failed and put back, and nothing is left RUNNING.

    Examples:
        >>> study = {"name": "lags", "base": {"task": "adding"}, "space": {"cell": ["rnn", "lstm"]},
        ...          "sampler": {"name": "grid"}}
        >>> harness.sweep(study).best  # doctest: +SKIP
    """
    spec = spec if isinstance(spec, StudySpec) else load_study(dict(spec))
    if spec.name == RUNS:
        raise UserError(f"the name {RUNS!r} is taken by the single runs; choose another name for the study")
    space.check(spec.space, spec.sampler.name == "grid")
    check(spec.first())
    opened = open_home(home)
    store = Store.open(opened, tracking_uri)
    with torch_threads(threads), ledger.no_experimental_warnings():
        return Sweep(spec, opened, store, watchers).go()


class Sweep:
    """A sweep in the making. `sweep` is the way in."""

    def __init__(self, spec: StudySpec, home: Home, store: Store, watchers: Sequence[Watcher]) -> None:
        self.spec, self.home, self.store, self.watchers = spec, home, store, watchers
        with home.lock():  # two processes that make the tables at once would break one another
            self.ledger = Ledger.open(spec, home.optuna_url)
        self.experiment = store.experiment(spec.name, note(spec))
        tags = {"longlag.study": spec.name, "longlag.study_identity": spec.identity()}
        self.parent = store.parent(self.experiment, spec.name, tags, parameters(spec))
        self.tags = {"longlag.study": spec.name}
        self.number: int | None = None

    def go(self) -> StudyResult:
        book = self.ledger
        book.tidy()
        for watcher in self.watchers:
            watcher.study_started(self.spec, book.settled(), book.total)
        try:
            while book.remaining():
                book.study.sampler = ledger.sampler(self.spec, len(book.study.get_trials(deepcopy=False)))
                book.study.optimize(self.trial, n_trials=1, catch=(TrialFailed,))
        except BaseException as error:
            book.put_back(self.number)
            with suppress(Exception):  # a store that is gone must not hide what went wrong
                self.store.end_parent(self.parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
            raise
        result = collect(self.spec, book.study, book.total, self.store, self.experiment)
        self.store.end_parent(self.parent, "FAILED" if result.failed else "FINISHED", summary(result))
        return result

    # -- one trial --------------------------------------------------------------------------------------------------

    def trial(self, trial: optuna.Trial) -> float:
        """What Optuna calls: a point, its runs over the seeds, and the mean of their scores."""
        self.number = trial.number
        trial.set_user_attr("process", ledger.holder())
        state: State = "failed"
        value: float | None = None
        reason = ""
        try:
            point = space.suggest(trial, self.spec.space)
            for watcher in self.watchers:
                watcher.trial_started(trial.number, point)
            value = self.runs(trial, self.specs(point))
            state = "complete"
            return value
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
            reason = f"{type(error).__name__}: {error} (traceback in {self.keep_traceback(trial.number)})"
            raise TrialFailed(reason) from error
        finally:
            if reason:
                trial.set_user_attr("reason", reason)
            for watcher in self.watchers:
                watcher.trial_ended(trial.number, state, value, reason)

    def specs(self, point: Mapping[str, Any]) -> list[RunSpec]:
        try:
            return [self.spec.run(dict(point), seed) for seed in self.spec.seeds]
        except UserError as error:
            raise TrialFailed(str(error)) from error

    def runs(self, trial: optuna.Trial, specs: Sequence[RunSpec]) -> float:
        trial.set_user_attr("run_keys", [spec.run_key for spec in specs])
        scores: list[float] = []
        run_ids: list[str] = []
        for spec in specs:
            listeners: list[Listener] = [*self.watchers]
            if len(specs) == 1:
                listeners.append(_Reporter(trial))
            tags = {**self.tags, "longlag.trial": str(trial.number)}
            place = Place(self.experiment, self.parent, tags, run_name(trial.number, spec))
            done = execute(spec, self.store, self.home, place, listeners=listeners, started=self.run_started)
            run_ids.append(done.run_id)
            trial.set_user_attr("run_ids", run_ids)
            if done.result.outcome == "pruned":
                raise optuna.TrialPruned(done.result.reason)
            scores.append(objective(done.result))
            mean = sum(scores) / len(scores)
            if len(specs) > 1:
                trial.report(mean, len(scores))
                if len(scores) < len(specs) and trial.should_prune():
                    raise optuna.TrialPruned(f"after {len(scores)} of {len(specs)} seeds")
        return mean

    def run_started(self, spec: RunSpec) -> None:
        for watcher in self.watchers:
            watcher.run_started(spec)

    def keep_traceback(self, number: int) -> Path:
        folder = self.home.root / "logs"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.spec.name}-trial{number}.txt"
        path.write_text(traceback.format_exc(), encoding="utf-8")
        return path


class _Reporter(Listener):
    """Tells Optuna the score at every evaluation, and ends the run when the pruner gives up on it."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.trial.report(score if math.isfinite(score) else math.inf, update)
        if self.trial.should_prune():
            raise Pruned(f"score {score:.3g} at update {update} is worse than the other trials' there")
