"""Studies: what is finished stays, what was cut short is done again, and nothing is dropped."""

from __future__ import annotations

import gc
import math
import signal
import statistics
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

import longlag
from longlag import processes, report
from longlag.analysis.result import StudyResult
from longlag.errors import UserError
from longlag.spec import RunSpec, load_run, load_study
from longlag.study import store as study_stores
from longlag.study.callback import StudyCallback
from longlag.study.run import RUNS
from longlag.study.size import parameters, sized
from longlag.study.storage import no_experimental_warnings
from longlag.tracking import describe
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunCallback, RunResult, train
from longlag.workers import runner
from tests.tracking import opening


class Counter(StudyCallback):
    """Counts the runs that were really trained."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def run_started(self, spec: RunSpec) -> None:
        self.trained.append(spec.run_key)


@pytest.fixture
def study(tiny: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """A grid of four points, under a name of its own, and with data of its own: the home is shared, runs are found."""
    space = {"model.depth": [1, 2], "cell": ["rnn", {"name": "lstm", "forget_bias": 2}]}
    name = request.node.name.replace("[", "-").replace("]", "")[:90]
    base = {**tiny, "data": {**tiny["data"], "seed": zlib.crc32(name.encode())}}
    return {"name": name, "base": base, "space": space, "sampler": {"name": "grid"}}


def sweep(study: dict[str, Any], home: Path, *callbacks: StudyCallback) -> tuple[StudyResult, list[str]]:
    counter = Counter()
    return longlag.sweep(study, home=home, callbacks=[counter, *callbacks]), counter.trained


def points(result: StudyResult) -> list[str]:
    return sorted(repr(sorted(trial.point.items(), key=str)) for trial in result.trials)


def statuses(result: StudyResult, home: Path) -> list[str]:
    return sorted(entry.status for entry in Store.open(Home.open(home)).stored_runs(result.experiment))


class Frozen(StudyCallback):
    """Notes how many objects the garbage collector passes over while a run goes on."""

    objects = 0

    def run_started(self, spec: RunSpec) -> None:
        self.objects = gc.get_freeze_count()


def test_imports_are_set_aside_from_garbage_collection_while_trials_run(
    study: dict[str, Any], shared_home: Path
) -> None:
    frozen = Frozen()
    sweep(study, shared_home, frozen)
    assert frozen.objects > 100_000 and gc.get_freeze_count() == 0


def test_a_grid_trains_every_point_once_and_asking_again_trains_nothing(
    study: dict[str, Any], shared_home: Path
) -> None:
    first, trained = sweep(study, shared_home)
    assert len(trained) == len(set(trained)) == len(first.trials) == 4
    assert [trial.state for trial in first.trials] == ["complete"] * 4
    assert {str(trial.point["cell"]) for trial in first.trials} == {"rnn", "{'name': 'lstm', 'forget_bias': 2}"}
    objectives = [trial.objective for trial in first.trials]
    assert objectives == sorted(objectives, key=lambda value: math.inf if value is None else value)
    store = Store.open(Home.open(shared_home))
    (own,) = store.runs([store.experiment_id(study["name"])], f"tags.`{describe.IDENTITY}` LIKE '%'")
    numbers = opening.points(store, own.info.run_id)
    again, trained = sweep(study, shared_home)
    assert trained == []
    assert again == first == report(study["name"], home=shared_home)
    assert numbers["trials/complete"] == [(0, 4.0)] and opening.points(store, own.info.run_id) == numbers


def test_every_trial_is_tagged_with_its_identity(study: dict[str, Any], shared_home: Path) -> None:
    result, trained = sweep(study, shared_home)
    trials = study_stores.StudyStore.stored(study["name"], Home.open(shared_home).optuna_url).study.get_trials()
    assert sorted(key for trial in trials for key in trial.user_attrs["run_keys"]) == sorted(trained)
    by_number = {trial.number: trial.user_attrs["run_ids"] for trial in trials}
    stored = {entry.run_id: entry for entry in Store.open(Home.open(shared_home)).stored_runs(result.experiment)}
    for trial in result.trials:
        assert by_number[trial.number] == list(trial.run_ids)
        assert stored[trial.run_ids[0]].tags["longlag.study"] == study["name"]
        assert stored[trial.run_ids[0]].tags["longlag.trial"] == str(trial.number)


def test_the_objective_is_the_mean_validation_score_over_the_seeds(study: dict[str, Any], shared_home: Path) -> None:
    result, trained = sweep({**study, "space": {"model.depth": [1]}, "seeds": [3, 5]}, shared_home)
    assert len(trained) == 2
    (trial,) = result.trials
    assert [run.spec.seed for run in trial.runs] == [3, 5]
    assert trial.objective == pytest.approx(statistics.fmean(run.validation["mse"] * 6 for run in trial.runs))


def test_a_random_search_goes_on_where_it_was_and_proposes_new_points(study: dict[str, Any], shared_home: Path) -> None:
    space = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    search = {**study, "space": space, "sampler": {"name": "random"}}
    first, trained = sweep({**search, "trials": 2}, shared_home)
    assert len(trained) == 2
    second, trained = sweep({**search, "trials": 5}, shared_home)
    assert len(trained) == 3
    assert len(set(points(second))) == 5
    assert set(points(first)) < set(points(second))


def test_the_same_name_with_another_search_is_refused_and_changes_nothing(
    study: dict[str, Any], shared_home: Path
) -> None:
    before, _ = sweep({**study, "space": {"model.depth": [1]}}, shared_home)
    for other, what in (
        ({"space": {"model.depth": [1, 2]}}, "space"),
        ({"space": {"model.depth": [1]}, "seeds": [1]}, "seeds"),
    ):
        with pytest.raises(UserError, match=f"already a study named .* with another {what}; choose another name"):
            sweep({**study, **other}, shared_home)
    assert report(study["name"], home=shared_home) == before


def test_a_default_that_is_spelled_out_is_the_same_search(study: dict[str, Any], shared_home: Path) -> None:
    one = {**study, "space": {"model.depth": [1]}}
    sweep(one, shared_home)
    _, trained = sweep(
        {**one, "base": {**one["base"], "optimizer": {"name": "adam", "lr": 0.001}, "clip": {}}}, shared_home
    )
    assert trained == []


OTHERS = ("random", "qmc", "gp")
"""Samplers whose searches are slow tests; a search takes seconds."""


@pytest.mark.fault
@pytest.mark.parametrize("sampler", ["tpe", "grid", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_diverged_runs_are_results_and_every_sampler_lives_with_them(
    sampler: str, study: dict[str, Any], shared_home: Path
) -> None:
    space = {"optimizer": [{"name": "sgd", "lr": 1e30}, {"name": "sgd", "lr": 1e-3}], "model.depth": [1, 2]}
    search = {**study, "space": space, "sampler": {"name": sampler}, "trials": 4 if sampler == "grid" else 12}
    result, _ = sweep(search, shared_home)
    assert len(result.trials) == search["trials"]
    assert {trial.state for trial in result.trials} == {"complete"}
    for trial in result.trials:
        diverges = trial.point["optimizer"]["lr"] > 1
        assert (trial.objective == math.inf) == diverges
        assert (trial.runs[0].outcome == "diverged") == diverges
    assert result.trials[-1].objective == math.inf


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_sampler_searches_ranges_lives_with_divergence_and_goes_on(
    sampler: str, study: dict[str, Any], shared_home: Path
) -> None:
    lr = {"low": 1e-3, "high": 1e12, "log": True}
    search = {
        **study,
        "base": {**study["base"], "optimizer": "sgd"},
        "space": {"optimizer.lr": lr, "optimizer.momentum": {"low": 0.0, "high": 0.9}},
        "sampler": {"name": sampler},
    }
    first, _ = sweep({**search, "trials": 6}, shared_home)
    result, trained = sweep({**search, "trials": 11}, shared_home)
    assert len(trained) == 5
    assert {trial.state for trial in result.trials} == {"complete"}
    assert len(set(points(result))) == 11 and set(points(first)) < set(points(result))
    outcomes = [run.outcome for trial in result.trials for run in trial.runs]
    assert 0 < outcomes.count("diverged") < 11
    for trial in result.trials:
        assert (trial.objective == math.inf) == (trial.runs[0].outcome == "diverged")


def test_a_run_that_raises_fails_its_trial_and_is_tried_again_next_time(
    study: dict[str, Any], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(spec: RunSpec, *arguments: Any, **named: Any) -> RunResult:
        if spec.model.depth == 2 and spec.cell.name == "rnn":
            raise MemoryError("no room")
        return train(spec, *arguments, **named)

    monkeypatch.setattr(runner, "train", broken)
    result, _ = sweep(study, shared_home)
    (failed,) = result.failed
    assert failed.point == {"model.depth": 2, "cell": "rnn"}
    assert failed.reason.startswith("out of memory: MemoryError: no room (traceback in ")
    assert "raise MemoryError" in Path(failed.reason.rpartition(" in ")[2].rstrip(")")).read_text()
    assert [trial.state for trial in result.trials] == ["complete"] * 3 + ["failed"]
    assert result.remaining == 1

    monkeypatch.setattr(runner, "train", train)
    result, trained = sweep(study, shared_home)
    assert len(trained) == 1
    assert [trial.state for trial in result.trials] == ["complete"] * 4


def test_a_study_without_axes_whose_run_fails_ends(
    study: dict[str, Any], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[RunSpec] = []

    def broken(spec: RunSpec, *arguments: Any, **named: Any) -> RunResult:
        tried.append(spec)
        if len(tried) > 2:
            raise KeyboardInterrupt  # else it would go on for ever
        raise RuntimeError("never")

    monkeypatch.setattr(runner, "train", broken)
    alone = {**study, "name": "alone", "space": {}, "trials": 1, "sampler": {"name": "random"}}
    for times in (1, 2):  # a new sweep tries it once more
        result, _ = sweep(alone, shared_home)
        assert [trial.state for trial in result.trials] == ["failed"] and len(tried) == times


class StopAtThird(Counter):
    """Ctrl-C in the middle of the third run."""

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        if len(self.trained) == 3:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_nothing_running_and_the_sweep_goes_on_later(study: dict[str, Any], shared_home: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sweep(study, shared_home, StopAtThird())
    interim = report(study["name"], home=shared_home)
    assert sorted(trial.state for trial in interim.trials) == ["complete", "complete", "waiting"]
    assert statuses(interim, shared_home) == ["FINISHED", "FINISHED", "KILLED"]
    result, trained = sweep(study, shared_home)
    assert len(trained) == 2
    assert [trial.state for trial in result.trials] == ["complete"] * 4
    assert len(set(points(result))) == 4


KILLED = """
import os, signal, sys, json
import longlag
from longlag.study.callback import StudyCallback

class Dies(StudyCallback):
    runs = 0
    def run_started(self, spec):
        self.runs += 1
    def evaluated(self, update, metrics, score):
        if self.runs == 2:
            os.kill(os.getpid(), signal.SIGKILL)

longlag.sweep(json.loads(sys.argv[1]), home=sys.argv[2], callbacks=[Dies()])
"""


@pytest.mark.slow
def test_what_a_killed_process_left_running_is_put_back(study: dict[str, Any], tmp_path: Path) -> None:
    import json

    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(study), str(home)], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    interim = report(study["name"], home=home)
    assert sorted(trial.state for trial in interim.trials) == ["complete", "lost"]
    assert (interim.finished, interim.remaining) == (False, 3)
    result, trained = sweep(study, home)
    assert len(trained) == 3
    assert [trial.state for trial in result.trials] == ["complete"] * 4
    assert len(set(points(result))) == 4
    assert "RUNNING" not in statuses(result, home)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_that_a_living_process_holds_is_left_alone(study: dict[str, Any], shared_home: Path) -> None:
    spec = load_study({**study, "space": {"model.depth": [1, 2]}})
    url = Home.open(shared_home).optuna_url
    with no_experimental_warnings():
        study_store = study_stores.StudyStore.open(spec, url)
        mine, dead, foreign = (study_store.study.ask() for _ in range(3))
        dead.suggest_categorical("cell", ["rnn", "gru"])  # it holds a point, or there were nothing to put back
    here = processes.this()
    mine.set_user_attr("process", here)
    dead.set_user_attr("process", {**here, "process_started": "0"})  # its number belongs to another process by now
    foreign.set_user_attr("process", {**here, "host": "elsewhere", "boot": "another"})
    study_store.recover_orphans()
    states = {trial.number: trial.state for trial in study_store.study.get_trials()}
    assert states[mine.number] == states[foreign.number] == optuna.trial.TrialState.RUNNING
    assert states[dead.number] == optuna.trial.TrialState.FAIL
    assert [t.user_attrs.get("retry_of") for t in study_store.trials()] == [None, None, dead.number]
    assert study_store.progress().remaining == 0  # two points, both held
    study_store.clean_up()  # a sweep begins: this process has nothing in hand any more
    states = {trial.number: trial.state for trial in study_store.study.get_trials()}
    assert states[mine.number] == optuna.trial.TrialState.FAIL
    assert states[foreign.number] == optuna.trial.TrialState.RUNNING


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_pruned_trials_stop_early_and_are_kept(seeds: list[int], study: dict[str, Any], shared_home: Path) -> None:
    base = {**study["base"], "training": {"batch_size": 8, "updates": 40, "eval_every": 10}}
    space = {"optimizer.lr": [1e-9, 1e-2, 2e-9, 3e-9, 2e-2, 4e-9]}
    pruner = {"name": "median", "startup_trials": 1}
    result, _ = sweep({**study, "base": base, "space": space, "pruner": pruner, "seeds": seeds}, shared_home)
    assert len(result.trials) == 6
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert pruned
    assert result.remaining == 0
    for trial in pruned:
        assert trial.objective is None
        assert trial.reason
        assert len(trial.runs) < len(seeds) or trial.runs[-1].outcome == "pruned"


def test_a_run_that_finished_elsewhere_is_taken_over_not_trained(study: dict[str, Any], shared_home: Path) -> None:
    alone = longlag.run({**study["base"], "seed": 0}, home=shared_home)
    result, trained = sweep({**study, "space": {"model.depth": [1, 2]}}, shared_home)
    assert len(trained) == 1
    (trial,) = (trial for trial in result.trials if trial.point == {"model.depth": 1})
    assert trial.runs[0].model_dump_json() == alone.model_dump_json()


def test_a_finished_run_is_found_and_force_repeats_it_bit_for_bit(tiny: dict[str, Any], shared_home: Path) -> None:
    told: list[int] = []

    class Told(RunCallback):
        def finished(self, result: RunResult) -> None:
            told.append(result.updates)

    fields = {**tiny, "seed": 77}
    first = longlag.run(fields, home=shared_home, callbacks=[Told()])
    found = longlag.run(fields, home=shared_home, callbacks=[Told()])
    assert told == [4]
    assert found.model_dump_json() == first.model_dump_json()
    forced = longlag.run(fields, home=shared_home, force=True, callbacks=[Told()])
    assert told == [4, 4]
    assert (forced.test, forced.validation, forced.gradient) == (first.test, first.validation, first.gradient)


def test_a_run_that_fails_is_not_left_running_nor_found_later(tiny: dict[str, Any], shared_home: Path) -> None:
    class Stops(RunCallback):
        def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
            raise KeyboardInterrupt

    fields = {**tiny, "seed": 78}
    with pytest.raises(KeyboardInterrupt):
        longlag.run(fields, home=shared_home, callbacks=[Stops()])
    store = Store.open(Home.open(shared_home))
    runs = store.stored_runs(store.experiment(RUNS))
    assert "RUNNING" not in {entry.status for entry in runs}
    assert longlag.run(fields, home=shared_home).updates == 4


def test_a_point_that_gives_no_run_fails_alone(study: dict[str, Any], shared_home: Path) -> None:
    space = {"optimizer.momentum": [0.9, 0.0], "optimizer.nesterov": [False, True]}
    study["base"]["optimizer"] = "sgd"
    result, trained = sweep({**study, "space": space}, shared_home)
    assert len(trained) == 3
    (failed,) = result.failed
    assert "nesterov needs a momentum" in failed.reason


def test_a_sampler_whose_package_is_missing_is_named(
    study: dict[str, Any], shared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longlag.packages.find_spec", lambda name: None)
    search = {**study, "sampler": {"name": "cmaes"}, "trials": 2}
    with pytest.raises(UserError, match=r"needs the package cmaes: pip install 'longlag\[search\]'"):
        sweep(search, shared_home)
    assert study["name"] not in study_stores.names(Home.open(shared_home).optuna_url)


def test_equal_parameter_counts(study: dict[str, Any], shared_home: Path) -> None:
    search = {**study, "space": {"cell": ["rnn", "gru", "lstm"], "model.depth": [1, 2]}, "parameters": 3000}
    result, _ = sweep(search, shared_home)
    runs = [run for trial in result.trials for run in trial.runs]
    assert len(runs) == 6
    assert all(abs(run.parameters - 3000) < 150 for run in runs), [run.parameters for run in runs]
    assert len({run.spec.model.hidden_size for run in runs}) > 3
    with pytest.raises(UserError, match="with another parameters"):
        sweep({**search, "parameters": 4000}, shared_home)
    with pytest.raises(UserError, match="the hidden size is solved for"):
        load_study({**search, "space": {"model.hidden_size": [1, 2]}})


@pytest.mark.parametrize("target", [500, 2500, 9000])
def test_an_equal_size_among_those_that_a_cell_takes(target: int) -> None:
    """Sixteen heads divide every sixteenth size: the nearest of them, on either side."""
    run = load_run({"task": "adding", "cell": {"name": "slstm", "heads": 16}})
    counts = {}
    for size in range(16, 257, 16):
        at = run.model.model_copy(update={"hidden_size": size})
        counts[size] = parameters(run.model_copy(update={"model": at}))
    assert sized(run, target).model.hidden_size == min(counts, key=lambda size: abs(counts[size] - target))


def test_wilcoxon_compares_seed_by_seed(study: dict[str, Any], shared_home: Path) -> None:
    base = {**study["base"], "training": {"batch_size": 8, "updates": 40, "eval_every": 20}}
    space = {"optimizer": [{"name": "adam", "lr": 1e-2}, {"name": "sgd", "lr": 1e30}]}
    search = {**study, "base": base, "space": space, "seeds": list(range(8)), "pruner": {"name": "wilcoxon"}}
    result, _ = sweep(search, shared_home)
    assert result.remaining == 0
    assert {trial.state for trial in result.trials} <= {"complete", "pruned"}
    with pytest.raises(UserError, match="needs three of them"):
        load_study({**search, "seeds": [0, 1]})
