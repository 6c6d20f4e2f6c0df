"""Every private function and table of MLflow that longlag uses, as read in MLflow 3.17.2.

MLflow creates and migrates its tables in steps that break when two processes take them at once or one is killed on the
way, and offers no public function for it. tests/tracking/test_mlflow_private.py fails when one of these parts moves.
"""

from __future__ import annotations

import logging
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}
"""Table -> column with the whole address of a folder of artifacts."""


class NoTables(Exception):
    """A database without MLflow's tables, or whose making was never finished."""


class UnknownTables(Exception):
    """A database with the tables of a newer MLflow, or of another program."""


def create_tables(uri: str, artifacts: Path) -> None:
    """Make MLflow's tables in a new database."""
    stores: Any = import_module("mlflow.store.tracking.sqlalchemy_store")
    stores.SqlAlchemyStore(uri, artifacts.as_uri())._dispose_engine()


def migrate_tables(uri: str) -> None:
    """Bring the tables of a database to the installed MLflow's version.

    Raises:
        NoTables, UnknownTables: when they are not there, or none that this MLflow knows.
    """
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
