"""The figures of finished trials: where they are read, and what is done where a tracking store has lost them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from longlag import processes
from longlag.log import log
from longlag.study.describe import arm_of, run_name, run_tags
from longlag.study.store import StudyStore, requeue
from longlag.tracking import describe
from longlag.tracking.copy import adopt
from longlag.tracking.restore import restore
from longlag.tracking.store import Store
from longlag.tracking.stored_run import StoredRun

if TYPE_CHECKING:
    from longlag.workers.requests import WorkerConfig


def stored_runs(store: Store, experiment: str) -> dict[str, StoredRun]:
    """The runs of a study by all that a trial may know them by: the run, its original, or the identity."""
    runs = store.stored_runs(experiment)
    # a run that its server missed at first, or that was measured again, has another name than its trial knows
    by_key = {entry.tags["run_key"]: entry for entry in runs if entry.status == "FINISHED"}
    originals = {entry.tags[describe.ADOPTED]: entry for entry in runs if describe.ADOPTED in entry.tags}
    return {**by_key, **originals, **{entry.run_id: entry for entry in runs}}


def names(trial: FrozenTrial) -> list[tuple[str, str]]:
    """Id and identity of each run of a trial that has ended."""
    return list(zip(trial.user_attrs.get("run_ids", []), trial.user_attrs.get("run_keys", []), strict=False))


def of(trial: FrozenTrial, runs: Mapping[str, StoredRun]) -> list[StoredRun]:
    """The runs of a trial whose figures can be read."""
    found = [_readable(runs, *name) for name in names(trial)]
    return [entry for entry in found if entry is not None]


def lost(
    study_store: StudyStore, store: Store, trial: FrozenTrial, runs: Mapping[str, StoredRun]
) -> list[tuple[str, str]]:
    """Id and identity of the runs of a finished trial whose figures are gone.

    What a server does not have yet may wait in the home of another machine, and the files of another machine cannot be
    seen: neither is gone.
    """
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return []
    missing = [name for name in names(trial) if _readable(runs, *name) is None]
    if not missing:
        return []
    files_here = store.local and (not study_store.storage.has_clock or _ran_here(trial))
    if not store.remote:
        return missing if files_here else []

    def gone(run_id: str) -> bool:
        run = store.reader.run(run_id)
        return run is None or (files_here and run.status != "RUNNING")

    return [(run_id, key) for run_id, key in missing if run_id != NO_RUN_ID and gone(run_id)]


def recover(study_store: StudyStore, store: Store, config: WorkerConfig) -> None:
    """Read lost figures from the files of their runs, or queue the points again, and log how many. Hold the lock."""
    runs, read, again = stored_runs(store, config.experiment), 0, 0
    for trial in study_store.trials():
        restored = [
            _restored(study_store, store, config, trial, *name) for name in lost(study_store, store, trial, runs)
        ]
        if not all(restored):
            requeue(study_store.study, trial)
            again += 1
        elif restored:
            read += 1
    if read or again:
        log.warning(
            "%s has lost the figures of %d finished trials: %d are read from the files of their runs, "
            "%d are measured again", store.uri, read + again, read, again,
        )  # fmt: skip


NO_RUN_ID = "None"
"""The id of a run that its server was never told of."""


def _readable(runs: Mapping[str, StoredRun], run_id: str, run_key: str) -> StoredRun | None:
    found = (runs.get(name) for name in (run_id, run_key))
    return next((entry for entry in found if entry is not None and entry.result is not None), None)


def _ran_here(trial: FrozenTrial) -> bool:
    process = trial.user_attrs.get("process", {})
    return processes.is_gone(process) is not None or processes.is_of_earlier_boot(process)


def _restored(
    study_store: StudyStore, store: Store, config: WorkerConfig, trial: FrozenTrial, run_id: str, run_key: str
) -> bool:
    """Whether a lost run is there again: found in another study, or made from its own files."""
    spec = study_store.spec
    arm = arm_of(trial.params, spec)
    tags = run_tags(spec.name, trial.number, arm)
    found = store.find(run_key)
    if found is not None:
        adopt(store, found, config.experiment, config.parent, tags)
        return True
    return restore(
        store, run_id, run_key, config.experiment, config.parent, tags, lambda run: run_name(trial.number, run, arm)
    )
