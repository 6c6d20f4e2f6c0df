"""The private parts of Optuna that longlag uses, all in this file. Read in Optuna 5.0.0; tests fail when they move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import FrozenTrial

READ_IN = "5.0.0"


class FilteredBruteForce(optuna.samplers.BruteForceSampler):
    """Optuna's exhaustive sampler over the trials that `counts` accepts.

    ``_populate_tree`` marks the points that trials have visited. It is called with all trials of the study.
    """

    def __init__(self, seed: int, counts: Callable[[FrozenTrial], bool]) -> None:
        super().__init__(seed=seed)
        self.counts = counts

    def _populate_tree(  # type: ignore[override]  # static there
        self, tree: Any, trials: list[FrozenTrial], params: dict[str, Any]
    ) -> None:
        super()._populate_tree(tree, [trial for trial in trials if self.counts(trial)], params)

    def after_trial(self, *_: Any) -> None:
        """Optuna's would stop its own loop, which is not used: the study store knows when a grid is finished."""


def trial_id(trial: optuna.Trial) -> int:
    """The key of a trial in its storage, which heartbeats are recorded for."""
    return trial._trial_id


def stale_trial_numbers(storage: optuna.storages.RDBStorage, study: optuna.Study) -> set[int]:
    """The numbers of running trials that have missed more heartbeats than the storage's grace period allows."""
    ids = storage._get_stale_trial_ids(study._study_id)
    return {storage.get_trial(trial_id).number for trial_id in ids}


def set_user_attribute(storage: optuna.storages.RDBStorage, trial: FrozenTrial, key: str, value: Any) -> None:
    """Set a user attribute of a trial that another process runs."""
    storage.set_trial_user_attr(trial._trial_id, key, value)


def parameters(trial: FrozenTrial) -> dict[str, Any]:
    """The values that a trial has, and those that it was enqueued with and has not reached yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
