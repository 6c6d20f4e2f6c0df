"""Every private function and table of MLflow that longlag uses, as read in MLflow 3.17.2.

MLflow creates and migrates its tables in steps that break when two processes take them at once or one is killed on the
way, and offers no public function for it. tests/tracking/test_mlflow_private.py fails when one of these parts moves.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSION, REVISION = "3.17.2", "dc11669786a5"
"""The MLflow whose tables can be read without it, and the version of those tables."""
ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
"""Table -> column with the whole address of a folder of artifacts."""


class NoTables(Exception):
    """A database without MLflow's tables, or whose making was never finished."""


class UnknownTables(Exception):
    """A database with the tables of a newer MLflow, or of another program."""


def create_tables(uri: str, artifacts: Path) -> None:
    """Make MLflow's tables in a new database; be sure that those of another one are of this version.

    Raises:
        MlflowException: when they are not.
    """
    _utilities()
    stores: Any = import_module("mlflow.store.tracking.sqlalchemy_store")
    stores.SqlAlchemyStore(uri, artifacts.as_uri())._dispose_engine()


def migrate_tables(uri: str) -> None:
    """Bring the tables of a database to the installed MLflow's version.

    Raises:
        NoTables, UnknownTables: when they are not there, or none that this MLflow knows.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if known_tables(path):
        return
    from alembic.util.exc import CommandError

    utilities = _utilities()
    engine = utilities.create_sqlalchemy_engine_with_retry(uri)
    try:
        revision = utilities._get_schema_version(engine)
        if revision is None:
            raise NoTables
        if revision != utilities._get_latest_schema_revision():
            utilities._upgrade_db(engine)
    except CommandError as error:
        raise UnknownTables from error
    finally:
        engine.dispose()


def known_tables(path: Path) -> bool:
    """Whether a SQLite database has the tables that `experiments`, `runs` and `series` read."""
    if version("mlflow") != VERSION:
        return False
    try:
        with closing(sqlite3.connect(path, timeout=20)) as database:
            return bool(database.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISION,)])
    except sqlite3.Error:
        return False


def experiments(database: sqlite3.Connection, tag: str, value: str) -> dict[str, str]:
    """Name -> id of the experiments with a tag of that value that are not deleted."""
    query = (
        "SELECT name, experiment_id FROM experiments NATURAL JOIN experiment_tags "
        "WHERE key = ? AND value = ? AND lifecycle_stage = 'active'"
    )
    return {str(name): str(identifier) for name, identifier in database.execute(query, (tag, value))}


def runs(database: sqlite3.Connection, which: str, value: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Columns and tags of runs, the oldest first; `which` is a condition in SQL on the column that has this value."""
    tags: dict[str, dict[str, str]] = {}
    query = f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN (SELECT run_uuid FROM runs WHERE {which})"
    for run_id, key, text in database.execute(query, (value,)):
        tags.setdefault(run_id, {})[key] = text
    names = ("run_uuid", "experiment_id", "status", "artifact_uri")
    query = f"SELECT {', '.join(names)} FROM runs WHERE {which} ORDER BY start_time, run_uuid"
    for row in database.execute(query, (value,)):
        yield dict(zip(names, row, strict=True)), tags.get(row[0], {})


def series(database: sqlite3.Connection, run_id: str, metric: str) -> list[tuple[int, float]]:
    """Step and value of everything that a run logged under a name."""
    query = "SELECT step, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY step, timestamp, value"
    return [
        (int(step), float("nan") if nan else float(value))
        for step, value, nan in database.execute(query, (run_id, metric))
    ]


def _utilities() -> Any:
    utilities: Any = import_module("mlflow.store.db.utils")  # carries no types
    utilities._logger.setLevel(logging.CRITICAL)  # what it logs as an error, with a traceback, it raises as well
    return utilities


def relocate(database: sqlite3.Connection, artifacts: str) -> None:
    """Let the addresses of artifacts, which MLflow stores whole, follow a home that was moved or copied."""
    row = database.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
    old = row[0].removesuffix("/0") if row else artifacts
    if old == artifacts:
        return
    for table, column in ADDRESSES.items():
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (artifacts, len(old) + 1, len(old), old),
        )
