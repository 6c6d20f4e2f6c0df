"""Runs in MLflow: what is written is what was measured, and comes back the same."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from longlag.errors import UserError
from longlag.spec import load_run
from longlag.tracking import connection, describe, study_run
from longlag.tracking.copy import adopt
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from tests.servers.ports import free_port
from tests.servers.postgresql import PostgreSQL
from tests.tracking.opening import begin_study, trained, values

# -- a run --------------------------------------------------------------------------------------------------------


def test_a_result_comes_back_as_it_was(store: Store, experiment: str, tiny: dict[str, Any]) -> None:
    result, callback = trained(store, experiment, {**tiny, "seed": 11}, tags={"longlag.trial": "3"}, name="mine")
    found = store.find(result.run_key)
    assert found is not None and found.result == result
    assert (found.run_id, found.experiment_id, found.status) == (callback.run_id, experiment, "FINISHED")
    assert found.tags["longlag.trial"] == "3"
    assert [entry.result for entry in store.stored_runs(experiment)] == [result]
    assert store.find("0" * 64) is None


def test_figures_in_mlflow_equal_the_result(store: Store, experiment: str, tiny: dict[str, Any]) -> None:
    result, callback = trained(store, experiment, {**tiny, "seed": 12})
    assert callback.run_id is not None
    run = store.client.get_run(callback.run_id)
    metrics = run.data.metrics
    assert result.test is not None
    assert metrics["score"] == result.score
    assert metrics["test/mse"] == result.test["mse"]
    assert metrics["validation/mse"] == result.validation["mse"]
    assert metrics["parameters"] == result.parameters
    assert "solved_at" not in metrics
    assert [step for step, _ in values(store, callback.run_id, "train/loss")] == [1, 2, 4]
    assert [step for step, _ in values(store, callback.run_id, "validation/mse")] == [2, 4]
    tags = run.data.tags
    assert (tags["task"], tags["cell"], tags["depth"], tags["seed"]) == ("adding", "rnn", "1", "12")
    assert (tags["outcome"], tags["host"], tags["pid"]) == ("budget", socket.gethostname(), str(os.getpid()))
    assert tags["environment.torch"] and tags["kernel"]
    params = run.data.params
    assert (params["task"], params["task.length"], params["cell"]) == ("adding", "6", "rnn")
    assert (params["model.hidden_size"], params["clip.norm"], params["optimizer.lr"]) == ("4", "none", "0.001")
    sets = {item.tags[0].value: item.dataset for item in run.inputs.dataset_inputs}
    assert set(sets) == {"validation", "test"}
    assert sets["test"].name == "adding-v1-test" and len(sets["test"].digest) == 16
    assert json.loads(str(sets["test"].profile))["num_rows"] == 8
    assert [c["name"] for c in json.loads(str(sets["test"].schema))["mlflow_colspec"]] == ["inputs", "targets"]


def test_curves_are_series_over_time(store: Store, experiment: str, tiny: dict[str, Any]) -> None:
    tiny |= {"probe": {"curves": True}, "model": {"hidden_size": 4, "depth": 2}, "cell": "lstm"}
    _, callback = trained(store, experiment, tiny)
    assert callback.run_id is not None
    names = [n for n in store.client.get_run(callback.run_id).data.metrics if n.startswith("gradient_through_time/")]
    states = ("layer1.h", "layer1.c", "layer2.h", "layer2.c")
    moments = ("update_000000", "update_000002", "last")
    assert set(names) == {f"gradient_through_time/{state}/{when}" for state in states for when in moments}
    drawn = values(store, callback.run_id, "gradient_through_time/layer2.h/last")
    assert [step for step, _ in drawn] == [1, 2, 3, 4, 5, 6]
    assert all(norm > 0 for _, norm in drawn)
    files = {f.path for f in store.client.list_artifacts(callback.run_id)}
    assert files == {
        "gradient_through_time.svg",
        "gradient_through_time.safetensors",
        "gradient_through_time_training.npz",
        "gradient_through_time_training.svg",
        "predictions.csv",
        "result.json",
        "spec.json",
        "weights.safetensors",
    }
    spec, weights = store.trained(callback.run_id)
    assert spec.cell.name == "lstm" and "stack.layers.1.weight_hh" in weights


def test_neither_nan_nor_infinity_is_logged_as_a_value(store: Store, experiment: str, tiny: dict[str, Any]) -> None:
    tiny["optimizer"] = {"name": "sgd", "lr": 1e30}
    result, callback = trained(store, experiment, tiny)
    assert result.outcome == "diverged" and math.isnan(result.score)
    assert callback.run_id is not None
    run = store.client.get_run(callback.run_id)
    assert run.info.status == "FINISHED" and run.data.tags["outcome"] == "diverged"
    assert run.data.metrics["train/diverged"] == 1
    assert "score" not in run.data.metrics
    assert all(math.isfinite(v) and abs(v) < 1e300 for v in run.data.metrics.values())
    found = store.find(result.run_key)
    assert found is not None and found.result is not None and math.isnan(found.result.score)


# -- studies ------------------------------------------------------------------------------------------------------


def test_a_study_continues_in_the_same_run(store: Store) -> None:
    experiment = store.experiment("continued", "first")
    assert store.experiment("continued", "second") == experiment
    assert store.client.get_experiment(experiment).tags["mlflow.note.content"] == "second"
    tags = {describe.STUDY: "continued", describe.IDENTITY: "one"}
    parent = study_run.begin(store, experiment, "continued", tags, {"space.cell": '["rnn"]', "sampler": "tpe"})
    study_run.end(store, parent, "FAILED", {"trials/complete": 2.0})
    assert store.client.get_run(parent).info.status == "FAILED"
    assert (
        study_run.begin(store, experiment, "continued", tags, {"space.cell": '["rnn"]', "sampler": "random"}) == parent
    )
    run = store.client.get_run(parent)
    assert run.info.status == "RUNNING"
    assert (run.data.params["sampler"], run.data.tags["now.sampler"]) == ("tpe", "random")
    assert study_run.begin(store, experiment, "continued", {**tags, describe.IDENTITY: "other"}, {}) != parent
    assert store.stored_runs(experiment) == []
    study_run.end(store, parent, "FINISHED", {})


def test_a_run_of_another_study_is_adopted_whole(store: Store, tiny: dict[str, Any]) -> None:
    first, second = store.experiment("first"), store.experiment("second")
    tiny |= {"probe": {"curves": True}, "seed": 14}
    result, original = trained(store, first, tiny, tags={describe.STUDY: "first", "longlag.trial": "1"}, name="one")
    parent = study_run.begin(store, second, "second", {describe.IDENTITY: "x"}, {})
    found = store.find(result.run_key)
    assert found is not None
    tags = {describe.STUDY: "second", "longlag.trial": "7"}
    copy = adopt(store, found, second, parent, tags, "two")
    assert adopt(store, found, second, parent, tags) == copy, "nothing is copied twice"
    assert adopt(store, found, first, None, {}) == original.run_id, "it is there already"
    assert original.run_id is not None
    old, new = store.client.get_run(original.run_id), store.client.get_run(copy)
    assert new.data.params == old.data.params and new.data.metrics == old.data.metrics
    assert (new.info.status, new.info.start_time, new.info.end_time) == (
        "FINISHED",
        old.info.start_time,
        old.info.end_time,
    )
    assert (new.info.run_name, new.data.tags["longlag.trial"], new.data.tags["study"]) == ("two", "7", "second")
    assert new.data.tags[describe.ADOPTED] == original.run_id and new.data.tags[describe.PARENT] == parent
    assert len(new.inputs.dataset_inputs) == 2
    name = "gradient_through_time/layer1.h/last"
    assert values(store, copy, name) == values(store, original.run_id, name)
    assert [entry.result for entry in store.stored_runs(second)] == [result]


@pytest.mark.fault
def test_a_dataset_that_another_worker_logs_at_the_same_moment_is_logged(store: Store, tiny: dict[str, Any]) -> None:
    """MLflow looks whether it has the dataset, and inserts it: a worker that comes in between makes it fail."""
    from mlflow.entities import Dataset, DatasetInput
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    experiment = store.experiment("two workers")
    others = [store.client.create_run(experiment).info.run_id for _ in ("test", "validation")]
    conflicts: list[list[str]] = []

    def other_worker(session: Session, *_: Any) -> None:
        names = [each.name for each in session.new if type(each).__name__ == "SqlDataset"]
        if names and others:
            conflicts.append(names)
            run_id, dataset = others.pop(), next(each for each in session.new if type(each).__name__ == "SqlDataset")
            fields = {key: getattr(dataset, f"dataset_{key}") for key in ("source_type", "source")}
            store.client.log_inputs(run_id, [DatasetInput(Dataset(dataset.name, dataset.digest, **fields))])

    event.listen(Session, "before_flush", other_worker)
    try:
        _, callback = trained(store, experiment, tiny)
    finally:
        event.remove(Session, "before_flush", other_worker)
    assert [len(names) for names in conflicts] == [2, 1]
    assert callback.run_id is not None
    assert len(store.client.get_run(callback.run_id).inputs.dataset_inputs) == 2


def test_studies_are_listed_and_near_misses_suggested(store: Store, tiny: dict[str, Any]) -> None:
    experiment = store.experiment("listed-study")
    trained(store, experiment, tiny)
    store.callback(experiment).started(load_run(tiny), {}, 1, {})
    row = next(row for row in store.studies() if row.name == "listed-study")
    assert (row.experiment_id, row.runs, row.finished) == (experiment, 2, 1)
    assert row.updated is not None
    assert "Default" not in [row.name for row in store.studies()]
    assert store.experiment_id("listed-study") == experiment
    with pytest.raises(UserError, match=r"no study named 'listed-studdy'.*did you mean 'listed-study'"):
        store.experiment_id("listed-studdy")


def test_a_deleted_study_comes_back(store: Store) -> None:
    experiment = store.experiment("deleted")
    store.client.delete_experiment(experiment)
    assert store.experiment("deleted") == experiment
    assert store.experiment_id("deleted") == experiment


def test_runs_whose_process_is_gone_are_marked(store: Store, tiny: dict[str, Any]) -> None:
    experiment = store.experiment("orphans")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    callbacks = [store.callback(experiment) for _ in range(3)]
    for callback in callbacks:
        callback.started(load_run(tiny), {}, 1, {})
    dead, alive, elsewhere = [str(callback.run_id) for callback in callbacks]
    store.client.set_tag(dead, "pid", str(gone.pid))
    store.client.set_tag(elsewhere, "pid", str(gone.pid))
    for key in ("host", "boot"):
        store.client.set_tag(elsewhere, key, "another machine")
    store.experiment("orphans")
    status = {entry.run_id: entry.status for entry in store.stored_runs(experiment)}
    assert status == {dead: "KILLED", alive: "RUNNING", elsewhere: "RUNNING"}


# -- stores -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_four_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")  # one of them imports for all
    processes.set_forkserver_preload(["longlag.tracking.store", "mlflow.store.tracking.sqlalchemy_store"])
    with processes.Pool(4) as pool:
        assert pool.map(begin_study, [tmp_path / "home"] * 4, chunksize=1) == ["1"] * 4
    with sqlite3.connect(tmp_path / "home" / "mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_no_usage_data_leaves_the_machine(store: Store) -> None:
    from mlflow.telemetry import get_telemetry_client

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert get_telemetry_client() is None


def test_a_home_that_was_moved_keeps_its_results(tmp_path: Path, tiny: dict[str, Any]) -> None:
    before = Store.open(Home.open(tmp_path / "before"))
    result, _ = trained(before, before.experiment("study"), tiny)
    shutil.move(tmp_path / "before", tmp_path / "after")
    after = Store.open(Home.open(tmp_path / "after", create=False))
    found = after.find(result.run_key)
    assert found is not None and found.result == result
    trained(after, after.experiment("study"), {**tiny, "seed": 1})
    assert not (tmp_path / "before").exists()


def client_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own client would try an address for minutes."""
    monkeypatch.setattr("mlflow.MlflowClient", lambda *_, **__: pytest.fail("asked before its server was known"))


@pytest.mark.fault
def test_an_unreachable_server_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client_is_not_reached(monkeypatch)
    port = free_port()
    with pytest.raises(UserError, match=rf"http://127\.0\.0\.1:{port} does not answer"):
        Store.open(Home.open(tmp_path), f"http://127.0.0.1:{port}/")


@pytest.mark.fault
def test_a_server_that_accepts_and_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `HEALTH_SECONDS`: without that limit this test would never end."""
    client_is_not_reached(monkeypatch)
    assert 5 < connection.HEALTH_SECONDS < 20, "a server that takes 5 s is used, and somebody sits in front of it"
    monkeypatch.setattr(connection, "HEALTH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="does not answer"):
        Store.open(Home.open(tmp_path), f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("uri", ["", "mlruns", "ftp://x", "file:///tmp/x", "databricks"])
def test_other_tracking_uris_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(UserError, match="should be an MLflow server"):
        Store.open(Home.open(tmp_path), uri)


def test_a_database_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="cannot be used as MLflow's database"):
        Store.open(home)
    assert (tmp_path / "mlflow.db").read_bytes().startswith(b"no database")
    with sqlite3.connect(tmp_path / "newer.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('fromthefuture')")
    with pytest.raises(UserError, match="newer MLflow, or by another program"):
        Store.open(home, f"sqlite:///{tmp_path}/newer.db")


KILLED = """
import os, signal, sys
from pathlib import Path
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from sqlalchemy import Engine, event

tables = []

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    tables.extend(["one more"] * statement.lstrip().startswith("CREATE TABLE"))
    if len(tables) == 9:
        os.kill(os.getpid(), signal.SIGKILL)

Store.open(Home.open(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow cannot go on with tables of which some are there: the database appears when it is whole."""
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path / "cache"))  # here the tables are really made
    home = Home.open(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", KILLED, str(home.root)])
    made = home.root / "mlflow.db.new"
    assert done.returncode == -signal.SIGKILL
    assert made.exists() and not (home.root / "mlflow.db").exists()
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS model_version_tags (name TEXT)")  # as after a later kill
    assert Store.open(home).studies() == []
    assert (home.root / "mlflow.db").exists() and not made.exists()


def test_a_database_of_others_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("CREATE TABLE notes (line TEXT)")
    with pytest.raises(UserError, match="not one of MLflow's"):
        Store.open(Home.open(tmp_path / "home"), f"sqlite:///{other}")
    with closing(sqlite3.connect(other)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]


# -- databases on a server -------------------------------------------------------------------------------------------


@pytest.mark.fault
def test_a_tracking_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    said = r"^the tracking database postgresql://me:\*\*\*@127\.0\.0\.1:9/x cannot be reached \(.*refused.*\); start it"
    with pytest.raises(UserError, match=said):
        Store.open(Home.open(tmp_path), "postgresql://me:secret@127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("uri", "missing", "said"),
    [
        ("postgresql://me:secret@h/x", "psycopg", "needs the package psycopg: pip install 'longlag[postgresql]'"),
        ("mysql://me:secret@h/x", "MySQLdb", "needs the package MySQLdb: pip install mysqlclient"),
        ("mysql+other://me:secret@h/x", "", "cannot be used: Can't load plugin: sqlalchemy.dialects:mysql.other"),
    ],
)
def test_a_tracking_database_without_its_driver_says_how_to_install_it(
    uri: str, missing: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError) as refused:
        Store.open(Home.open(tmp_path), uri)
    assert str(refused.value) == f"tracking URI {uri.replace('secret', '***')!r} {said}"


@pytest.mark.slow
def test_a_tracking_database_on_a_server(
    postgresql: PostgreSQL, tmp_path: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are made where it is empty, runs are recorded in it, and another program's is left alone."""
    import psycopg

    monkeypatch.undo()  # here the tables are really made
    with psycopg.connect(postgresql.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE tracking")
        connection.execute("CREATE TABLE IF NOT EXISTS notes (line TEXT)")
    home, uri = Home.open(tmp_path), f"{postgresql.url.rpartition('/')[0]}/tracking"
    with pytest.raises(UserError, match="not one of MLflow's"):
        Store.open(home, postgresql.url)
    store = Store.open(home, uri)
    experiment = store.experiment("on a server")
    result, _ = trained(store, experiment, tiny)
    store.deliver(wait=True)
    found = Store.open(home, uri).find(result.run_key)
    assert found is not None and found.result == result
