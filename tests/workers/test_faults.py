"""A full disk, a home that cannot be written, a lost database, too little memory: one sentence, and nothing lost."""

from __future__ import annotations

import errno
import json
import resource
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import longlag
from longlag import report
from longlag.cli.app import app
from longlag.cli.errors import invoke
from longlag.errors import UserError
from longlag.spec import RunSpec
from longlag.study.callback import StudyCallback
from longlag.study.storage import address
from longlag.study.store import StudyStore
from longlag.tracking.home import Home
from longlag.workers.faults import message, translate_errors
from tests.servers.postgresql import PostgreSQL

STUDY: dict[str, Any] = {
    "name": "in-trouble",
    "base": {
        "task": {"name": "adding", "length": 8},
        "cell": "rnn",
        "model": {"hidden_size": 6},
        "training": {"batch_size": 8, "updates": 20, "eval_every": 10},
        "data": {"validation": 20, "test": 20},
        "probe": {"curves": False, "log_every": 10},
    },
    "space": {"model.depth": [1, 2, 3]},
    "sampler": {"name": "grid"},
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


class Fills(StudyCallback):
    """Fills the disk when the second run begins."""

    def __init__(self, ballast: Path) -> None:
        self.ballast, self.runs = ballast, 0

    def run_started(self, spec: RunSpec) -> None:
        self.runs += 1
        if self.runs == 2:
            with suppress(OSError), self.ballast.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            assert shutil.disk_usage(self.ballast.parent).free == 0


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_sentence_and_loses_nothing(workers: int, disk: Path, tmp_path: Path) -> None:
    home, ballast = disk / "home", disk / "ballast"
    with pytest.raises(UserError, match=r"the disk of home .* is full; .* the same command continues"):
        longlag.sweep(STUDY, home=home, workers=workers, callbacks=[Fills(ballast)])
    ballast.unlink()
    for database in ("mlflow.db", "optuna.db"):
        with closing(sqlite3.connect(home / database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    before = {trial.runs[0].run_key for trial in report("in-trouble", home=home).trials if trial.state == "complete"}
    assert workers > 1 or len(before) == 1
    counted = Fills(ballast)
    counted.runs = 10  # fills nothing
    result = longlag.sweep(STUDY, home=home, callbacks=[counted])
    assert (result.remaining, result.failed) == (0, [])
    assert counted.runs - 10 == 3 - len(before)
    whole = longlag.sweep(STUDY, home=tmp_path / "whole")
    assert [trial.objective for trial in result.trials] == [trial.objective for trial in whole.trials]


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_that_goes_away_is_one_sentence_and_loses_nothing(
    workers: int, postgresql: PostgreSQL, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training = {**STUDY["base"]["training"], "updates": 1500, "eval_every": 50, "stop_when_solved": False}
    study = {**STUDY, "name": f"database-{workers}", "base": {**STUDY["base"], "training": training}}
    file, home = tmp_path / "study.json", tmp_path / "home"
    file.write_text(json.dumps(study))
    command = ["sweep", str(file), "--home", str(home), "--storage", postgresql.url, "--workers", str(workers)]
    stopped: list[bool] = []

    def stop() -> None:
        until = time.monotonic() + 300
        while not stopped and not list(home.glob("checkpoints/*/*.json")) and time.monotonic() < until:
            time.sleep(0.02)
        postgresql.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        # a checkpoint at every update: after the first, which is waited for, thousands have yet to be written
        code = invoke(app, [*command, "--checkpoint-seconds", "0"])
    finally:
        stopped.append(True)
        thread.join()
        postgresql.start()
    said = capfd.readouterr().err
    assert code == 2, said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in said, said
    assert "the study storage postgresql+psycopg://longlag@127.0.0.1:" in errors[0], said
    assert errors[0].endswith("what is finished is kept, and the same command continues"), said
    begun = {path.parent.name for path in home.glob("checkpoints/*/*.json")}
    assert begun
    result = longlag.sweep(study, home=home, storage=postgresql.url)
    assert (result.remaining, result.failed) == (0, [])
    whole = longlag.sweep(study, home=tmp_path / "whole")
    assert [trial.objective for trial in result.trials] == [trial.objective for trial in whole.trials]
    study_store = StudyStore.stored(study["name"], address(postgresql.url))
    with closing(study_store.storage):
        states = [trial.state.name for trial in study_store.study.get_trials()]
    assert states.count("COMPLETE") == 3 and set(states) == {"COMPLETE", "FAIL"}
    assert begun <= {trial.runs[0].run_key for trial in result.trials} and not list(home.glob("checkpoints/*"))


@pytest.mark.fault
def test_a_home_that_cannot_be_written_is_one_sentence(disk: Path) -> None:
    Home.open(disk / "home")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(UserError, match=r"home .* cannot be written: Read-only file system"):
        longlag.sweep(STUDY, home=disk / "home")


@pytest.mark.fault
def test_a_trial_that_needs_too_much_memory_fails_alone(tmp_path: Path) -> None:
    study = {**STUDY, "name": "big", "space": {"model.hidden_size": [20_000, 6]}}
    _, hard = before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 700_000_000, hard))
    try:
        result = longlag.sweep(study, home=tmp_path / "home")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    states = {trial.point["model.hidden_size"]: trial for trial in result.trials}
    assert states[6].state == "complete"
    assert states[20_000].state == "failed"
    assert states[20_000].reason.startswith("out of memory: ")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk of home /h is full"),
        (OSError(errno.EDQUOT, "x"), "the disk of home /h is full"),
        (OSError(errno.EROFS, "x"), "home /h cannot be written"),
        (OSError(errno.EACCES, "x", "/h/logs/a"), "home /h cannot be written"),
        (OSError(errno.EIO, "x"), "the disk of home /h fails"),
        (sqlite3.OperationalError("database or disk is full"), "the disk of home /h is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "home /h cannot be written"),
        (OSError(errno.EACCES, "x", "/elsewhere/corpus"), None),
        (FileNotFoundError(errno.ENOENT, "x", "/h/a"), None),
        (ValueError("a tensor of ours"), None),
    ],
)
def test_what_stops_a_sweep_and_what_fails_one_trial(error: Exception, said: str | None) -> None:
    try:
        try:
            raise error
        except Exception as first:
            raise RuntimeError("on top") from first
    except RuntimeError as outer:
        found = message(outer, Path("/h"))
    assert (found is None) == (said is None)
    assert said is None or (found is not None and found.startswith(said))


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(KeyError), translate_errors(tmp_path):
        raise KeyError("ours")
    with pytest.raises(UserError, match="is full"), translate_errors(tmp_path), Path("/dev/full").open("w") as file:
        file.write("x")
