"""Several machines on one study: PostgreSQL and an MLflow server for real, on loopback, and nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from sqlalchemy.exc import OperationalError

import longlag
from longlag import report
from longlag.cli.checks import examine
from longlag.errors import UserError
from longlag.spec import load_study
from longlag.study.storage import Storage, address, connect, lost_database, no_experimental_warnings
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.workspace import Workspace
from tests.servers.postgresql import PostgreSQL

PATIENCE = 600  # seconds; the machine may be busy


HOLD = """
import time
from longlag.training.checkpoint import Checkpoints
write = Checkpoints.write
def hold(self, checkpoint):
    write(self, checkpoint)
    while checkpoint.update >= 50:
        time.sleep(1)
Checkpoints.write = hold
"""  # a driver that comes no further than update 50 is killed within a trial, however fast the machine


SLOW = """
import time
from pathlib import Path
from longlag.training.checkpoint import Checkpoints
write = Checkpoints.write
def hold(self, checkpoint):
    write(self, checkpoint)
    while checkpoint.update == 50 and not Path({file!r}).exists():
        time.sleep(0.1)
Checkpoints.write = hold
"""  # both drivers are within a trial until the file is there


def study(name: str, updates: int, seed: int = 0) -> dict[str, Any]:
    base = {
        "task": {"name": "adding", "length": 10},
        "cell": "rnn",
        "model": {"hidden_size": 6},
        "training": {"batch_size": 10, "updates": updates, "eval_every": 100, "stop_when_solved": False},
        "data": {"validation": 20, "test": 20, "seed": seed},
        "probe": {"curves": False, "log_every": 10},
    }
    return {"name": name, "base": base, "space": {"model.depth": [1, 2, 3]}, "sampler": {"name": "grid"}}


def driver(host: str, file: Path, home: Path, *options: str, first: str = "") -> subprocess.Popen[str]:
    """``longlag sweep`` as it would run on a machine of this name: of another one no process can be seen."""
    name = f"import socket; socket.gethostname = lambda: {host!r}"
    boot = f"from longlag import processes; processes.boot = lambda: {host!r}"
    code = f"{name}\n{boot}\n{first}\nfrom longlag.cli import main; main()"
    command = [sys.executable, "-c", code, "sweep", str(file), "--home", str(home), "--workers", "1", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["shared", "apart"])
def test_two_hosts_share_a_study_and_one_is_killed(folder: str, storage: str, tracking: str, tmp_path: Path) -> None:
    # runs of their own: what the other case has trained would be found on the server that they share
    fields = study(f"hosts-{folder}", 300, seed=["shared", "apart"].index(folder))
    file = tmp_path / "study.json"
    file.write_text(json.dumps(fields))
    homes = [tmp_path / name for name in (["home", "home"] if folder == "shared" else ["a", "b"])]
    options = ["--storage", storage, "--tracking-uri", tracking, "--heartbeat-seconds", "5"]
    first = driver("a", file, homes[0], *options, "--checkpoint-seconds", "0", first=HOLD)
    drivers = [first]
    try:
        wait(lambda: bool(list(homes[0].glob("checkpoints/*/00000050.json"))), first)
        second = driver("b", file, homes[1], *options)
        drivers.append(second)
        wait(lambda: states(fields["name"], storage).count("COMPLETE") == 2, second)
        assert states(fields["name"], storage).count("RUNNING") == 1
        held = [trial.number for trial in trials_of(fields["name"], storage) if trial.state.name == "RUNNING"]
        first.kill()
        said, _ = second.communicate(timeout=PATIENCE)
    finally:
        for process in drivers:
            process.kill()
            process.communicate()
    assert second.returncode == 0, said
    trials = trials_of(fields["name"], storage)
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE"] * 3 + ["FAIL"]
    assert [trial.user_attrs["retry_of"] for trial in trials if "retry_of" in trial.user_attrs] == held
    assert {t.user_attrs["process"]["host"] for t in trials if t.state.name == "COMPLETE"} == {"b"}
    store = Store.open(Home.open(homes[1]), tracking)
    runs = store.client.search_runs([store.experiment_id(fields["name"])])
    # the run of the killed host goes on where its checkpoint can be found, and is marked as killed elsewhere
    left = ["KILLED"] if folder == "apart" else []
    assert sorted(run.info.status for run in runs) == ["FINISHED"] * 4 + left  # three runs and the study's own
    keys = [run.data.tags["run_key"] for run in runs if "run_key" in run.data.tags and run.info.status == "FINISHED"]
    assert len(keys) == len(set(keys)) == 3
    result = report(fields["name"], home=homes[1], tracking_uri=tracking, storage=storage)
    assert (result.remaining, result.failed) == (0, [])
    alone = longlag.sweep(fields, home=tmp_path / "alone")
    assert figures(result) == figures(alone)
    wrong = [f for f in examine(Workspace.open(homes[1], tracking, storage)) if f.state == "wrong"]
    assert wrong == []


def begun(home: Path, count: int) -> bool:
    return len(list(home.glob("checkpoints/*/00000050.json"))) > count


def trials_of(name: str, storage: str) -> list[FrozenTrial]:
    study_store = StudyStore.stored(name, address(storage))
    with closing(study_store.storage):
        return study_store.study.get_trials()


def states(name: str, storage: str) -> list[str]:
    return [trial.state.name for trial in trials_of(name, storage)]


def wait(for_: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it is so, which this process has to live to see."""
    until = time.monotonic() + PATIENCE
    while not for_():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)


def figures(result: Any) -> dict[str, Any]:
    runs = [run for trial in result.trials for run in trial.runs]
    other: Any = {"wall_seconds": True, "cpu_seconds": True, "environment": {"git_commit"}}  # may change meanwhile
    found = {run.run_key: run.model_dump(mode="json", exclude=other) for run in runs}
    assert len(found) == len(runs)
    return found


@pytest.mark.fault
def test_nothing_is_written_under_a_lock_that_a_restarted_server_has_lost(postgresql: PostgreSQL) -> None:
    one, two = connect(address(postgresql.url)), connect(address(postgresql.url))
    with closing(one), closing(two), no_experimental_warnings():
        held = optuna.create_study(storage=one, study_name="lost lock")
        message = lost_database(address(postgresql.url))
        with pytest.raises(OperationalError) as lost, one.lock("x"):
            postgresql.stop()
            postgresql.start()
            with two.lock("x"), pytest.raises(optuna.exceptions.StorageInternalError):
                held.ask()
        assert str(message(lost.value)).startswith("the study storage postgresql+psycopg://longlag@127.0.0.1:")
        with one.lock("x"):
            assert held.ask().number == 0


@pytest.mark.fault
@pytest.mark.slow
def test_two_drivers_whose_database_restarts_lose_nothing_and_run_nothing_twice(
    postgresql: PostgreSQL, tracking: str, tmp_path: Path
) -> None:
    fields = study("restarted", 300, seed=7)
    file, home = tmp_path / "study.json", tmp_path / "home"
    file.write_text(json.dumps(fields))
    options = ["--storage", postgresql.url, "--tracking-uri", tracking]
    options += ["--checkpoint-seconds", "0"]
    slow = SLOW.format(file=str(tmp_path / "restarted"))
    drivers = [driver(host, file, home, *options, first=slow) for host in "ab"]
    try:
        for number, process in enumerate(drivers):
            wait(partial(begun, home, number), process)
        postgresql.stop()
        postgresql.start()
        (tmp_path / "restarted").touch()
        said = [process.communicate(timeout=PATIENCE)[0] for process in drivers]
    finally:
        for process in drivers:
            process.kill()
            process.communicate()
    for process, text in zip(drivers, said, strict=True):
        errors = [line for line in text.splitlines() if line.startswith("error:")]
        assert process.returncode == (2 if errors else 0) and len(errors) < 2 and "Traceback" not in text, text
        assert all(error.endswith("the same command continues") for error in errors), text
    result = longlag.sweep(fields, home=home, storage=postgresql.url, tracking_uri=tracking)
    assert (result.remaining, result.failed) == (0, [])
    store = Store.open(Home.open(home), tracking)
    runs = store.client.search_runs([store.experiment_id(fields["name"])])
    keys = [run.data.tags["run_key"] for run in runs if "run_key" in run.data.tags]
    assert len(keys) == len(set(keys)) == 3 and {run.info.status for run in runs} == {"FINISHED"}
    assert figures(result) == figures(longlag.sweep(fields, home=tmp_path / "alone"))


def test_the_lock_holds_over_connections_and_ends_with_them(storage: str) -> None:
    one, two = connect(address(storage)), connect(address(storage))
    with closing(one), closing(two):
        assert in_turn(one, two) == ["another", "one", "two"]


def in_turn(one: Storage, two: Storage) -> list[str]:
    order: list[str] = []

    def other() -> None:
        with two.lock("x"):
            order.append("two")

    with one.lock("x"):
        thread = threading.Thread(target=other)
        thread.start()
        with two.lock("another"):
            order.append("another")
        time.sleep(0.3)
        order.append("one")
    thread.join(PATIENCE)
    return order


def test_many_hosts_may_begin_at_once(storage: str) -> None:
    spec = load_study(study("at-once", 10))
    study_stores: list[StudyStore] = []

    def begin() -> None:
        study_store = StudyStore.open(spec, address(storage))
        study_store.storage.remove_session()  # this thread's
        study_stores.append(study_store)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    with no_experimental_warnings():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({study_store.study._study_id for study_store in study_stores}) == 1 and len(study_stores) == 4
    with pytest.raises(UserError, match="begun with heartbeat 60, not 5"):
        StudyStore.open(spec, address(storage), 5)
    for study_store in study_stores:
        study_store.storage.close()


def test_a_database_that_does_not_answer_is_one_sentence() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(UserError, match=r"storage postgresql\+psycopg://me:\*\*\*@127.0.0.1:9/x cannot be used"):
        connect(address("postgresql://me:secret@127.0.0.1:9/x"))


@pytest.mark.parametrize("url", ["mysql://host/db", "study.db", "postgresql:/host/db"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="should be postgresql://user@host/database"):
        address(url)


def test_the_password_of_a_storage_is_never_shown() -> None:
    with pytest.raises(UserError, match=r"storage 'mysql://me:\*\*\*@host/db\?sslpassword=\*\*\*'"):
        address("mysql://me:secret@host/db?sslpassword=secret")
