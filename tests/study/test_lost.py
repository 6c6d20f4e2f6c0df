"""One of a study's two databases is lost: a study is finished only while its figures can be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

import longlag
from longlag import processes, report
from longlag.analysis.result import StudyResult
from longlag.errors import UserError
from longlag.spec import RunSpec
from longlag.study import figures as figures_of
from longlag.study.callback import StudyCallback
from longlag.tracking.home import Home
from longlag.tracking.store import Store


class Trained(StudyCallback):
    """The seeds and depths of the runs that were really trained."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def run_started(self, spec: RunSpec) -> None:
        self.runs.append((spec.model.depth, spec.seed))


@pytest.fixture
def study(tiny: dict[str, Any]) -> dict[str, Any]:
    space = {"model.depth": [1, 2]}
    return {"name": "lost", "base": tiny, "space": space, "seeds": [0, 1], "sampler": {"name": "grid"}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def sweep(study: dict[str, Any], home: Path) -> tuple[StudyResult, list[tuple[int, int]]]:
    trained = Trained()
    return longlag.sweep(study, home=home, callbacks=[trained]), sorted(trained.runs)


def without(database: str, home: Path) -> Path:
    """A copy of a home without a database: this process keeps those that it has used open."""
    return shutil.copytree(home, home.with_name(f"{home.name}-"), ignore=shutil.ignore_patterns(f"{database}*"))


def figures(result: StudyResult) -> list[str]:
    runs = [run for trial in result.trials for run in trial.runs]
    return sorted(run.model_dump_json(exclude={"wall_seconds", "cpu_seconds"}) for run in runs)


@pytest.mark.fault
def test_a_lost_tracking_store_is_read_from_the_files_of_the_runs_or_measured_again(
    study: dict[str, Any], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, _ = sweep(study, home)
    weights = Store.open(Home.open(home)).file(before.trials[0].run_ids[0], "weights.safetensors")
    home = without("mlflow.db", home)
    with pytest.raises(UserError, match=r"the runs of the study 'lost' are not in sqlite.*`longlag sweep lost` reads"):
        report("lost", home=home)

    found, trained = sweep(study, home)
    assert trained == [] and found.trials[0].state == "complete"
    assert "has lost the figures of 2 finished trials: 2 are read from the files of their runs, 0 are" in caplog.text
    assert figures(found) == figures(before)
    store = Store.open(Home.open(home))
    run = store.client.get_run(found.trials[0].run_ids[0])
    assert run.info.status == "FINISHED" and run.data.metrics["score"] == found.trials[0].runs[0].score
    assert run.data.params["model.depth"] == str(found.trials[0].point["model.depth"])
    assert weights is not None and store.file(run.info.run_id, "weights.safetensors") == weights
    caplog.clear()
    assert sweep(study, home) == (found, [])
    assert report("lost", home=home) == found and "has lost" not in caplog.text

    (gone,) = (trial for trial in found.trials if trial.point["model.depth"] == 2)
    home = without("mlflow.db", home)
    for each in (home / "artifacts").glob("*/artifacts/result.json"):  # the copies as well as the originals
        if gone.runs[1].run_key in each.read_text():
            shutil.rmtree(each.parent)
    again, trained = sweep(study, home)
    assert trained == [(2, 1)], "the other seed was read"
    assert "of 2 finished trials: 1 are read from the files of their runs, 1 are measured again" in caplog.text
    assert figures(again) == figures(before)
    assert (again.remaining, [trial.state for trial in again.trials]) == (0, ["complete"] * 2)


@pytest.mark.fault
@pytest.mark.parametrize("remote", [False, True], ids=["a file", "a database on a server"])
def test_a_study_is_not_finished_while_figures_are_gone(
    remote: bool, study: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where MLflow's database is on a server, the files of its runs are in the home all the same."""
    monkeypatch.setattr(Store, "remote", remote)
    before, _ = sweep({**study, "seeds": [0]}, home)
    store = Store.open(Home.open(home))
    with store.files(before.trials[0].run_ids[0]) as folder:
        shutil.rmtree(folder)
    store.client.delete_run(before.trials[1].run_ids[0])  # by hand, in the UI
    interim = report("lost", home=home)
    assert (interim.finished, interim.remaining) == (False, 2)
    lost = [trial for trial in interim.trials if trial.state == "lost"]
    assert [(trial.objective, trial.reason) for trial in lost] == [(None, "its figures are gone")] * 2
    result, trained = sweep({**study, "seeds": [0]}, home)
    assert trained == sorted((trial.point["model.depth"], 0) for trial in before.trials[:2])
    assert figures(result) == figures(before) and result.finished


def test_a_pruned_trial_is_read_from_its_files(study: dict[str, Any], home: Path) -> None:
    pruned = {
        **study,
        "space": {"optimizer.lr": [1e-2, 2e-2, 1e-9]},
        "enqueue": [{"optimizer.lr": lr} for lr in (1e-2, 2e-2, 1e-9)],
        "seeds": [0],
        "pruner": {"name": "median", "startup_trials": 1},
        "base": {**study["base"], "training": {"batch_size": 8, "updates": 40, "eval_every": 10}},
    }
    before, _ = sweep(pruned, home)
    assert {trial.state for trial in before.trials} == {"complete", "pruned"}
    home = without("mlflow.db", home)
    for _ in range(2):
        found, trained = sweep(pruned, home)
        assert trained == [] and figures(found) == figures(before)
        assert [trial.state for trial in found.trials] == [trial.state for trial in before.trials]


@pytest.mark.fault
def test_a_lost_study_database_finds_the_runs_by_their_identity(study: dict[str, Any], home: Path) -> None:
    before, _ = sweep(study, home)
    home = without("optuna.db", home)
    found, trained = sweep(study, home)
    assert trained == [] and figures(found) == figures(before)
    assert (found.finished, len(found.trials)) == (True, 2)
    runs = [run for trial in found.trials for run in trial.run_ids]
    assert sorted(runs) == sorted(run for trial in before.trials for run in trial.run_ids)


def test_a_study_stays_with_its_tracking_store(study: dict[str, Any], home: Path, tmp_path: Path) -> None:
    sweep(study, home)
    with pytest.raises(UserError, match="begun with tracking the store of the home, not another database"):
        longlag.sweep(study, home=home, tracking_uri=f"sqlite:///{tmp_path / 'other.db'}")


def test_what_may_wait_on_another_machine_is_not_lost() -> None:
    """A server has not seen it yet, or its store is on a disk that cannot be seen from here."""
    there, told, untold = ("a", "key a"), ("b", "key b"), ("None", "key c")
    names = [there, told, untold]
    attributes = {"run_ids": [run_id for run_id, _ in names], "run_keys": [key for _, key in names]}

    def lost(local: bool, shared: bool, process: dict[str, str], remote: bool = False) -> list[tuple[str, str]]:
        trial = optuna.trial.create_trial(value=0.0, user_attrs={**attributes, "process": process})
        reader = SimpleNamespace(run=lambda run_id: None if run_id == "b" else SimpleNamespace(status=status))
        study_store: Any = SimpleNamespace(storage=SimpleNamespace(has_clock=shared))
        store: Any = SimpleNamespace(local=local, remote=remote, reader=reader)
        return figures_of.lost(study_store, store, trial, {})

    status, elsewhere = "FINISHED", {**processes.this(), "host": "elsewhere", "boot": "another"}
    for process in (processes.this(), elsewhere):
        assert lost(local=False, remote=True, shared=True, process=process) == [told], "a server"
    assert lost(local=True, remote=True, shared=True, process=elsewhere) == [told], "a database on a server"
    assert lost(local=True, remote=True, shared=True, process=processes.this()) == [there, told]
    status = "RUNNING"
    assert lost(local=True, remote=True, shared=True, process=processes.this()) == [told], "it is being delivered"
    assert lost(local=True, shared=True, process=elsewhere) == []
    assert lost(local=True, shared=True, process=processes.this()) == names
    assert lost(local=True, shared=False, process=elsewhere) == names, "a home that was copied"
