"""The private parts of Optuna that longlag uses, all in this file. Read in Optuna 5.0.0; tests fail when they move."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState

from longlag.errors import UserError

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


class DataOnlyCMAES(optuna.samplers.CmaEsSampler):
    """Optuna's CMA-ES, whose state cannot run code.

    Optuna pickles the state into the study's storage, which others may write. Here it is unpickled only if it consists
    of arrays and the optimizers of `cmaes`. ``_restore_optimizer`` is called with the trials that have ended.
    """

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            parts = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
            if parts:
                return _DataOnly(bytes.fromhex(self._concat_optimizer_attrs(parts))).load()
        return None


class _DataOnly(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        array = module.split(".")[0] == "numpy" and name in ("_reconstruct", "dtype", "ndarray", "scalar")
        if array or (module.startswith("cmaes._") and name in ("CMA", "SepCMA", "CMAwM")):
            return super().find_class(module, name)
        raise UserError(
            f"the state of the cmaes sampler in the study's storage names {module}.{name}, which no sampler wrote: "
            "someone else did, and nothing of it is run; begin the study under another name"
        )


class ReadOnce(optuna.storages.RDBStorage):
    """Optuna's storage, of which several readers can share one reading of the trials.

    Optuna keeps the trials of a study in memory, and ``_get_trials`` reads those that may have changed: all that are
    running, several times for each new trial.
    """

    _shared = False

    @contextmanager
    def as_read(self) -> Iterator[None]:
        """What is inside sees the trials as they were when they were last read, and the new ones of this process."""
        self._shared = True
        try:
            yield
        finally:
            self._shared = False

    def _get_trials(
        self, study_id: int, states: Any, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        if self._shared:
            return []
        return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """The key of a trial in its storage, which heartbeats are recorded for."""
    return trial._trial_id


def was_queued(trial: optuna.Trial) -> bool:
    """Whether a trial waited in the queue, with or without values."""
    return "fixed_params" in trial._cached_frozen_trial.system_attrs


def heartbeats(storage: optuna.storages.RDBStorage, study: optuna.Study) -> dict[int, tuple[datetime, timedelta]]:
    """The last heartbeat of each running trial that gave one, by number, and its age. Both are by the database's clock.

    A SQLite database has no clock of its own: its time is that of the process that asks.
    """
    query = (
        sqlalchemy.select(models.TrialModel.number, models.TrialHeartbeatModel.heartbeat, sqlalchemy.func.now())
        .join(models.TrialHeartbeatModel, models.TrialHeartbeatModel.trial_id == models.TrialModel.trial_id)
        .where(models.TrialModel.study_id == study._study_id, models.TrialModel.state == TrialState.RUNNING)
    )
    with storage.engine.connect() as connection:
        rows = connection.execute(query).all()
    # PostgreSQL's now() has a time zone, and the column has none
    return {number: (heartbeat, now.replace(tzinfo=None) - heartbeat) for number, heartbeat, now in rows}


def set_user_attributes(storage: optuna.storages.RDBStorage, trial: int, values: Mapping[str, Any]) -> None:
    """Set user attributes of a trial, which has this key in its storage, in one transaction.

    Optuna makes one for each, and most of what a transaction takes is its end.
    """
    with _create_scoped_session(storage.scoped_session, True) as session:
        for key, value in values.items():
            storage._set_trial_attr_without_commit(session, models.TrialUserAttributeModel, trial, key, value)


def parameters(trial: FrozenTrial) -> dict[str, Any]:
    """The values that a trial has, and those that it was enqueued with and has not reached yet."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


class Trials:
    """What an importance evaluator reads of a study. A study of Optuna's own copies every trial that is added to it,
    which takes longer than the evaluation, and a bootstrap makes fifty of them.

    Args:
        trials: value, parameters and distributions of each; smaller values are better.
    """

    directions = (optuna.study.StudyDirection.MINIMIZE,)

    def __init__(self, trials: Iterable[tuple[float, Mapping[str, Any], Mapping[str, BaseDistribution]]]) -> None:
        self._trials = [
            FrozenTrial(
                number=number,
                trial_id=number,
                state=TrialState.COMPLETE,
                value=value,
                params=dict(params),
                distributions=dict(distributions),
                datetime_start=None,
                datetime_complete=None,
                user_attrs={},
                system_attrs={},
                intermediate_values={},
            )
            for number, (value, params, distributions) in enumerate(trials)
        ]

    def some(self, numbers: Sequence[int]) -> Trials:
        """Those of some numbers, which may come more than once."""
        made = Trials(())
        made._trials = [self._trials[number] for number in numbers]
        return made

    def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        return self._trials

    def _is_multi_objective(self) -> bool:
        return False


def ped_anova(trials: Trials, params: Sequence[str]) -> dict[str, float]:
    """Optuna's PED-ANOVA of the parameters that any of the trials has."""
    from optuna.importance import PedAnovaImportanceEvaluator

    there = [name for name in params if any(name in trial.params for trial in trials.get_trials())]
    study: Any = trials
    return PedAnovaImportanceEvaluator().evaluate(study, params=there)
