"""The private parts of Optuna that longlag uses are where longlag expects them, and do what it needs of them."""

from __future__ import annotations

import inspect
import os
import pickle
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from longlag import optuna_private
from longlag.errors import UserError
from longlag.study.storage import no_experimental_warnings
from tests.damage import Bomb

MOVED = (
    f"Optuna {optuna.__version__} differs from {optuna_private.READ_IN}, in which longlag read its private parts: "
    "read longlag/optuna_private.py against the new source"
)


# the tests begin trials by hand
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed to be used with Study.optimize")


def study(folder: Path) -> tuple[optuna.Study, optuna.storages.RDBStorage]:
    with no_experimental_warnings():
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'studies.db'}", heartbeat_interval=1)
    return optuna.create_study(storage=storage), storage


def test_they_have_the_signatures_that_were_read() -> None:
    populate = inspect.signature(optuna.samplers.BruteForceSampler._populate_tree)
    assert list(populate.parameters) == ["tree", "trials", "params"], MOVED
    read = inspect.signature(optuna.storages.RDBStorage._get_trials)
    assert list(read.parameters) == ["self", "study_id", "states", "included_trial_ids", "trial_id_greater_than"], MOVED
    restore = inspect.signature(optuna.samplers.CmaEsSampler._restore_optimizer)
    assert list(restore.parameters) == ["self", "completed_trials"], MOVED


def test_the_exhaustive_sampler_counts_the_trials_that_it_is_told_to() -> None:
    """A failed trial without all of its values must not stand for a point: Optuna would take it for one."""
    half = optuna.trial.create_trial(
        state=TrialState.FAIL, params={"a": 0}, distributions={"a": optuna.distributions.IntDistribution(0, 1)}
    )

    def points(sampler: optuna.samplers.BaseSampler) -> set[tuple[Any, ...]]:
        made = optuna.create_study(sampler=sampler)
        made.add_trial(half)
        made.optimize(lambda trial: float(trial.suggest_int("a", 0, 1) + trial.suggest_int("b", 0, 1)), n_trials=4)
        return {tuple(trial.params.values()) for trial in made.trials if trial.state is TrialState.COMPLETE}

    def counts(trial: FrozenTrial) -> bool:
        return trial.state is not TrialState.FAIL

    with no_experimental_warnings():
        sampler = optuna_private.FilteredBruteForce(0, counts)
    assert points(sampler) == {(0, 0), (0, 1), (1, 0), (1, 1)}, MOVED


def cmaes(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    made = optuna.create_study(sampler=sampler)
    made.optimize(lambda trial: trial.suggest_float("a", 0, 1) ** 2 + trial.suggest_int("b", 0, 9), n_trials=20)
    return made


def test_cma_es_continues_from_its_own_state_as_optunas_does() -> None:
    pytest.importorskip("cmaes")
    own, theirs = cmaes(optuna_private.DataOnlyCMAES(seed=0)), cmaes(optuna.samplers.CmaEsSampler(seed=0))
    assert [trial.params for trial in own.trials] == [trial.params for trial in theirs.trials], MOVED
    assert any("cma:optimizer" in key for trial in own.trials for key in trial.system_attrs), MOVED


@pytest.mark.fault
def test_a_state_of_cma_es_that_somebody_else_wrote_runs_no_code() -> None:
    pytest.importorskip("cmaes")
    made = cmaes(optuna_private.DataOnlyCMAES(seed=0))
    made.add_trial(
        optuna.trial.create_trial(
            value=0.0,
            params={"a": 0.5, "b": 1},
            distributions=made.trials[0].distributions,
            system_attrs={"cma:optimizer:0": pickle.dumps(Bomb()).hex(), "cma:generation": 0},
        )
    )
    with pytest.raises(UserError, match=r"the cmaes sampler in the study's storage names builtins\.exec, which"):
        made.ask().suggest_float("a", 0, 1)
    assert "LONGLAG_BOMB" not in os.environ


def test_the_heartbeats_of_running_trials_and_their_age(tmp_path: Path) -> None:
    made, storage = study(tmp_path)
    trial, other, ended, _ = (made.ask() for _ in range(4))
    for each in (trial, other, ended):
        storage.record_heartbeat(each._trial_id)
    made.tell(ended, 0.0)
    with storage.engine.begin() as connection:
        an_hour_ago = "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour') WHERE trial_id = ?"
        connection.exec_driver_sql(an_hour_ago, (trial._trial_id,))
    found = optuna_private.heartbeats(storage, made)
    assert set(found) == {trial.number, other.number}, MOVED
    (before, old), (now, young) = found[trial.number], found[other.number]
    assert (now - before, old - young) == (timedelta(hours=1), timedelta(hours=1)), MOVED


def test_what_an_enqueued_trial_was_given_and_notes_on_another_ones_trial(tmp_path: Path) -> None:
    made, storage = study(tmp_path)
    made.enqueue_trial({"a": 1, "b": 2})
    (waiting,) = made.trials
    assert optuna_private.parameters(waiting) == {"a": 1, "b": 2}, MOVED
    trial = made.ask()
    assert optuna_private.was_queued(trial), MOVED
    trial.suggest_int("a", 0, 3)
    (running,) = made.trials
    assert running.params == {"a": 1} and optuna_private.parameters(running) == {"a": 1, "b": 2}, MOVED
    notes = {"reason": "because", "updates": 3}
    optuna_private.set_user_attributes(storage, optuna_private.trial_id(running), notes)
    assert made.trials[0].user_attrs == notes, MOVED


def test_ped_anova_of_trials_outside_of_a_study_is_that_of_a_study() -> None:
    """A trial that comes twice counts twice."""
    scales = {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.CategoricalDistribution("xy"),
    }
    random = np.random.default_rng(0)
    points = [{"a": float(random.uniform()), "b": str(random.choice(["x", "y"]))} for _ in range(40)]
    values = [point["a"] + 0.1 * (point["b"] == "x") for point in points]  # type: ignore[operator]
    numbers = [*range(40), 3, 3, 7]
    made = optuna.create_study()
    for k in numbers:
        trial = optuna.trial.create_trial(value=values[k], params=points[k], distributions=scales)
        made.add_trial(trial)
    expected = optuna.importance.PedAnovaImportanceEvaluator().evaluate(made)
    all_ = optuna_private.Trials((v, p, scales) for v, p in zip(values, points, strict=True))
    assert optuna_private.ped_anova(all_.some(numbers), ["b", "a", "none"]) == pytest.approx(expected), MOVED
