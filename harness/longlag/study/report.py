"""Reading a study from its stores, and how it and its runs are described there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import yaml
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from longlag import optuna_private
from longlag.analysis.result import State, StudyResult, TrialResult, ordered
from longlag.spec import ARM, RECORDED, RunSpec, StudySpec, label
from longlag.study import space
from longlag.study import store as study_stores
from longlag.study.storage import where
from longlag.study.store import StudyStore
from longlag.tracking import describe
from longlag.tracking.recorded import Recorded
from longlag.tracking.store import Store
from longlag.workspace import Workspace

FEW = 20
"""Values of a list that the note shows."""
FILE = "study.json"
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
        return collect(study_store, store, store.experiment_id(name))


def collect(study_store: study_stores.StudyStore, store: Store, experiment: str) -> StudyResult:
    """Optuna's trials with the results that the tracking store holds for them."""
    spec, study, spent = study_store.spec, study_store.study, study_store.spent()
    runs = store.recorded(experiment)
    recorded = {entry.run_id: entry for entry in runs}
    # a run that its server missed at first has another name than its trial knows
    recorded |= {entry.tags["run_key"]: entry for entry in runs if entry.status == "FINISHED"}
    dead = set(study_store.dead())
    trials = [_trial(trial, spec, recorded, trial.number in dead) for trial in study_store.trials()]
    several = len(spec.objectives) > 1
    front = {trial.number for trial in study.best_trials} & {trial.number for trial in trials} if several else set()
    fields = {
        "spec": spec,
        "trials": ordered(trials, front, study.directions[0]),
        "front": tuple(sorted(front)),
        "directions": ["minimize" if each is StudyDirection.MINIMIZE else "maximize" for each in study.directions],
        "adaptive": study_store.adaptive,
        "total": study_store.total,
        "updates": spent.updates,
        "hours": spent.hours,
        "finished": study_store.finished(),
        "experiment": experiment,
        "tracking_uri": store.uri,
    }
    return StudyResult.model_validate(fields, context=RECORDED)  # what the spec names need not be installed


def _trial(trial: FrozenTrial, spec: StudySpec, recorded: Mapping[str, Recorded], dead: bool) -> TrialResult:
    names = zip(trial.user_attrs.get("run_ids", []), trial.user_attrs.get("run_keys", []), strict=False)
    found = [recorded.get(run_id) or recorded.get(run_key) for run_id, run_key in names]
    entries = [entry for entry in found if entry is not None]
    kept = [entry for entry in entries if entry.result is not None]
    params = trial.params or optuna_private.parameters(trial)
    return TrialResult(
        number=trial.number,
        point=space.decode(params, spec.space),
        state="lost" if dead else STATES[trial.state],
        objective=trial.values[0] if trial.state is TrialState.COMPLETE else None,
        objectives=dict(zip(spec.objectives, trial.values or [], strict=False)),
        reason=trial.user_attrs.get("reason", "the process that ran it is gone" if dead else ""),
        runs=tuple(entry.result for entry in kept if entry.result is not None),
        run_ids=tuple(entry.run_id for entry in kept),
    )


def summary(result: StudyResult) -> dict[str, float]:
    """The numbers that stand on the study's own run."""
    states = [trial.state for trial in result.trials]
    numbers = {f"trials/{state}": float(states.count(state)) for state in ("complete", "pruned", "failed")}
    runs = [run for trial in result.trials for run in trial.runs]
    numbers["runs/solved"] = float(sum(run.solved for run in runs))
    numbers["runs/diverged"] = float(sum(run.outcome == "diverged" for run in runs))
    return numbers


def note(spec: StudySpec) -> str:
    """The note above the study in the tracking UI, as Markdown. A note has room for 20,000 characters."""
    given = spec.model_dump(mode="json", exclude_defaults=True, exclude={"description"})
    if spec.arms:
        given = {**given, "arms": list(spec.arms), "space": {k: v for k, v in given["space"].items() if k != ARM}}
    fields = describe.clip(yaml.safe_dump(_brief(given), sort_keys=False), 10_000).rstrip()
    about = f"{describe.clip(spec.description.strip(), 5_000)}\n\n" if spec.description.strip() else ""
    return (
        f"{about}Continue it with `longlag sweep {spec.name}`, read it with `longlag report {spec.name}`. "
        f"What is cut short here is complete in `{FILE}`, a file of the run `{spec.name}`.\n\n"
        f"```yaml\n{fields}\n```\n"
    )


def _brief(value: Any) -> Any:
    """Fields with the first values of long lists."""
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > FEW:
        return [*map(_brief, value[:FEW]), f"... {len(value):,} in all"]
    return value


def whole(spec: StudySpec) -> str:
    """All of the study, as `longlag sweep` reads it."""
    return spec.model_dump_json(exclude_defaults=True, indent=1)


def parameters(spec: StudySpec) -> dict[str, str]:
    """What the study's own run is said to vary."""
    axes = {}
    for path, axis in spec.space.items():
        given = [label(v) for v in axis] if isinstance(axis, list) else axis.model_dump(exclude_defaults=True)
        axes[f"space.{path}"] = json.dumps(given)
    seeds = ",".join(str(seed) for seed in spec.seeds)
    return {**axes, "seeds": seeds, "sampler": spec.sampler.name, "pruner": spec.pruner.name}


def run_name(number: int, spec: RunSpec, arm: str | None = None) -> str:
    """How one run of a trial is called in the tracking UI: by its arm, where the study has arms."""
    of = arm or f"{spec.cell.name} depth {spec.model.depth} {spec.optimizer.name}"
    seed = "" if f" seed {spec.seed} " in f"{of} " else f" seed {spec.seed}"
    return f"{number:03d} {of}{seed}"
