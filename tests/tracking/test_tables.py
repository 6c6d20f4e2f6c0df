"""MLflow's tables are made once and copied into later homes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from longlag.tracking import connection, mlflow_private
from longlag.tracking.home import Home
from tests.damage import DAMAGES, damage


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_tables: Path) -> Iterator[list[str]]:
    """The databases for which MLflow made tables, with an empty cache; a stand-in does its work without the second."""
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path / "cache"))
    found: list[str] = []

    def create(uri: str, artifacts: Path) -> None:
        found.append(uri)
        with closing(sqlite3.connect(mlflow_tables)) as old, closing(sqlite3.connect(uri[10:])) as new, new:
            old.backup(new)
            mlflow_private.relocate(new, artifacts.as_uri())

    monkeypatch.setattr(mlflow_private, "create_tables", create)
    yield found


def prepared(folder: Path) -> None:
    """Prepare a home, and be sure that its database is whole and its own."""
    home = Home.open(folder)
    connection.prepare(home)
    with closing(sqlite3.connect(home.root / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = database.execute("SELECT artifact_location FROM experiments").fetchall()
    assert found == [(f"{home.artifacts.as_uri()}/0",)]
    assert mlflow_private.known_tables(home.root / "mlflow.db")


def test_the_first_home_makes_them_and_the_others_copy(made: list[str], tmp_path: Path) -> None:
    for name in "abc":
        prepared(tmp_path / name)
    assert len(made) == 1


@pytest.mark.fault
@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_tables_in_the_cache_are_made_again_with_one_line(
    name: str, made: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared(tmp_path / "a")
    (kept,) = (tmp_path / "cache").glob("mlflow-*.db")
    damage(kept, name)
    for home in "bc":
        prepared(tmp_path / home)
    assert len(made) == 2
    assert caplog.messages == [
        "MLflow's tables are made again, as those kept in the cache cannot be used: its checksum differs"
    ]


def test_without_a_cache_every_home_makes_its_own(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path / "file"))
    for name in "ab":
        prepared(tmp_path / name)
    assert len(made) == 2
