"""What all suites share: a home of their own, and runs so small that they take no time."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, event

from longlag.tracking import connection
from longlag.tracking.home import Home
from tests import fault_report
from tests.servers.mlflow import mlflow_server
from tests.servers.postgresql import PostgreSQL, missing_postgresql
from tests.servers.tracker import Tracker, mlflow_here

os.environ.setdefault("LONGLAG_WORKERS", "1")  # a worker takes seconds to start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the suite runs in two processes: more threads would only stand in each other's way

TINY: dict[str, Any] = {
    "task": {"name": "adding", "length": 6},
    "cell": "rnn",
    "model": {"hidden_size": 4},
    "training": {"batch_size": 4, "updates": 4, "eval_every": 2},
    "data": {"validation": 8, "test": 8},
    "probe": {"log_every": 2, "curves": False},  # a picture takes a second
}


@event.listens_for(Engine, "connect")
def commits_are_not_flushed(connection: Any, record: Any) -> None:
    """Commits that wait for the disk are a part of a small study's time; no test is about a power cut."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """What longlag says in a test of a fault is noted for the report at the end."""
    with fault_report.collecting(item) if item.get_closest_marker("fault") else nullcontext():
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """A report of the faults, when they alone were run."""
    if config.option.markexpr == "fault":
        terminalreporter.section("faults: what was done, what longlag said and promises")
        for line in fault_report.lines(
            each for group in terminalreporter.stats.values() for each in group if isinstance(each, pytest.TestReport)
        ):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and no runs."""
    home = Home.open(tmp_path_factory.mktemp("tables"))
    connection.prepare(home)
    return home.root / "mlflow.db"


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for tests that only add to it; making one takes a second or two."""
    return tmp_path_factory.mktemp("shared") / "home"


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The fields of a run that takes some hundredths of a second."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The server itself; skips where there is none."""
    missing = missing_postgresql()
    if missing is not None:
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="longlag-pg-", dir="/tmp"))  # the address of a socket has to be short
    folder.chmod(0o755)
    try:
        server = PostgreSQL(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def storage(postgresql: PostgreSQL) -> str:
    """Address of a database in it."""
    return postgresql.url


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_in_this_process(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[Tracker]:
    with mlflow_here(tmp_path_factory.mktemp("tracker"), mlflow_tables) as tracker:
        yield tracker


@pytest.fixture
def tracker(mlflow_in_this_process: Tracker, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """An MLflow server without faults, which the test may give some; with the runs of other tests on it."""
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(mlflow_in_this_process.folder / "artifacts"))
    monkeypatch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
    mlflow_in_this_process.reset()
    return mlflow_in_this_process
