"""A report of many runs: what it asks of the stores does not grow with them; it imports neither torch nor MLflow."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import Engine

from benchmarks.stores import CELLS, STUDY, grow
from longlag.analysis import pictures
from longlag.cli import display
from longlag.tracking import connection
from longlag.tracking.reading import SqliteReader
from tests.cli.conftest import Longlag
from tests.conftest import TINY

MORE = 40
CURVES = {"log_every": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Path:
    """A study of one run a cell."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copy(mlflow_tables, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_draw", lambda *_: [])  # a picture takes a second
        grow(folder, len(CELLS), {**TINY, "probe": CURVES})
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many statements went to MLflow's and to Optuna's tables; MLflow's client is none to be had."""
    counts = {"mlflow": 0, "optuna": 0}
    opened = SqliteReader._open

    def traced(reader: SqliteReader) -> sqlite3.Connection:
        database = opened(reader)
        database.set_trace_callback(lambda _: counts.update(mlflow=counts["mlflow"] + 1))
        return database

    def refused(where: str) -> Any:
        raise AssertionError(f"MLflow's client of {where} is made")

    monkeypatch.setattr(pictures, "_draw", lambda *_: [])
    monkeypatch.setattr(SqliteReader, "_open", traced)
    monkeypatch.setattr(connection, "client", refused)
    return counts


def test_what_a_report_asks_of_the_stores_does_not_grow_with_the_runs(
    home: Path,
    asked: dict[str, int],
    longlag: Longlag,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def count(*_: Any) -> None:
        asked["optuna"] += 1

    def report(folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
        asked.update(mlflow=0, optuna=0)
        done = longlag("report", STUDY, "--home", str(folder), "--json")
        assert done.code == 0, done.err
        return json.loads(done.out), dict(asked)

    sqlalchemy.event.listen(Engine, "before_cursor_execute", count)
    request.addfinalizer(lambda: sqlalchemy.event.remove(Engine, "before_cursor_execute", count))
    few, before = report(home)
    many = tmp_path / "many"
    shutil.copytree(home, many)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "client", _client)
        grow(many, len(CELLS) + MORE, {**TINY, "probe": CURVES})
    more, after = report(many)
    assert len(few["trials"]) == len(CELLS) and len(more["trials"]) == len(CELLS) + MORE
    assert all(trial["runs"] for trial in more["trials"])
    assert after == before and min(before.values()) > 0

    monkeypatch.setattr(display, "ROWS", 5)
    table = longlag("report", STUDY, "--home", str(many), "--no-importance")
    best = [line for line in table.out.splitlines() if " adam " in line]
    assert (
        len(best) == 5
        and f"{len(more['trials']) - 5} more trials are not in the table (longlag report --all)" in table.out
    )
    table = longlag("report", STUDY, "--home", str(many), "--no-importance", "--all")
    assert len([line for line in table.out.splitlines() if " adam " in line]) == len(more["trials"])
    assert "more trials" not in table.out


_client: Callable[[str], Any] = connection.client


def test_the_command_imports_neither_torch_nor_mlflow(home: Path) -> None:
    """Each takes two seconds."""
    heavy = ("torch", "mlflow", "datasets", "scipy")
    code = (
        "import sys; from longlag.cli.errors import invoke; from longlag.cli import app\n"
        f"assert invoke(app, ['report', {STUDY!r}, '--home', {str(home)!r}]) == 0\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
    assert f"{STUDY}: {len(CELLS)} of {len(CELLS)} trials" in done.stdout
