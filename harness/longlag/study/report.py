"""Reading a study from its stores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from longlag import optuna_private
from longlag.analysis.result import State, StudyResult, TrialResult, ordered
from longlag.errors import UserError, quoted
from longlag.spec import STORED, StudySpec
from longlag.study import figures, space
from longlag.study import store as study_stores
from longlag.study.storage import where
from longlag.study.store import StudyStore
from longlag.tracking.store import Store
from longlag.tracking.stored_run import StoredRun
from longlag.workspace import Workspace

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def report(name: str, workspace: Workspace, store: Store | None = None) -> StudyResult:
    """A study that was begun before, as it is now; `store` is the workspace's, if it is open already.

    Raises:
        UserError: when there is none of this name.
    """
    study_store = StudyStore.stored(name, where(workspace))
    with closing(study_store.storage):
        store = store or workspace.store()
        try:
            experiment = store.experiment_id(name)
        except UserError as error:
            raise UserError(
                f"the runs of the study {quoted(name)} are not in {store.uri}: give the tracking URI that it was begun "
                f"with; or, if they are lost, `longlag sweep {name}` reads them from their files or measures them again"
            ) from error
        return collect(study_store, store, experiment)


def collect(study_store: study_stores.StudyStore, store: Store, experiment: str) -> StudyResult:
    """Optuna's trials with the results that the tracking store holds for them."""
    spec, study, progress = study_store.spec, study_store.study, study_store.progress()
    runs = figures.stored_runs(store, experiment)
    dead, current = set(study_store.dead()), progress.trials
    gone = {trial.number for trial in current if figures.lost(study_store, store, trial, runs)}
    trials = [_trial(trial, spec, figures.of(trial, runs), _why_lost(trial, dead, gone)) for trial in current]
    several = len(spec.objectives) > 1
    front = {trial.number for trial in study.best_trials} & {trial.number for trial in trials} if several else set()
    fields = {
        "spec": spec,
        "trials": ordered(trials, front, study.directions[0]),
        "front": tuple(sorted(front)),
        "directions": ["minimize" if each is StudyDirection.MINIMIZE else "maximize" for each in study.directions],
        "adaptive": study_store.adaptive,
        "total": study_store.total,
        "updates": progress.spent.updates,
        "hours": progress.spent.hours,
        "finished": progress.finished and not gone,
        "experiment": experiment,
        "tracking_uri": store.uri,
    }
    return StudyResult.model_validate(fields, context=STORED)  # what the spec names need not be installed


def _why_lost(trial: FrozenTrial, dead: set[int], gone: set[int]) -> str:
    if trial.number in dead:
        return "the process that ran it is gone"
    return "its figures are gone" if trial.number in gone else ""


def _trial(trial: FrozenTrial, spec: StudySpec, runs: Sequence[StoredRun], lost: str) -> TrialResult:
    params = trial.params or optuna_private.parameters(trial)
    complete = trial.state is TrialState.COMPLETE and not lost
    return TrialResult(
        number=trial.number,
        point=space.decode(params, spec.space),
        state="lost" if lost else STATES[trial.state],
        objective=trial.values[0] if complete else None,
        objectives=dict(zip(spec.objectives, trial.values or [], strict=False)),
        reason=lost or trial.user_attrs.get("reason", ""),
        runs=tuple(entry.result for entry in runs if entry.result is not None),
        run_ids=tuple(entry.run_id for entry in runs),
    )


def summary(result: StudyResult) -> dict[str, float]:
    """The numbers that stand on the study's own run."""
    states = [trial.state for trial in result.trials]
    metrics = {f"trials/{state}": float(states.count(state)) for state in ("complete", "pruned", "failed")}
    runs = [run for trial in result.trials for run in trial.runs]
    metrics["runs/solved"] = float(sum(run.solved for run in runs))
    metrics["runs/diverged"] = float(sum(run.outcome == "diverged" for run in runs))
    return metrics
