"""The private parts of MLflow: where an upgrade moves one of them, this file says so."""

from __future__ import annotations

import inspect
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from longlag.tracking import connection, mlflow_private, views

with connection.quiet():
    import mlflow.server
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore


def test_what_longlag_calls_is_there() -> None:
    assert list(inspect.signature(SqlAlchemyStore).parameters)[:2] == ["db_uri", "default_artifact_root"]
    assert callable(SqlAlchemyStore._dispose_engine)
    assert list(inspect.signature(utils.create_sqlalchemy_engine_with_retry).parameters)[:1] == ["db_uri"]
    assert list(inspect.signature(utils._get_schema_version).parameters) == ["engine"]
    assert list(inspect.signature(utils._upgrade_db).parameters) == ["engine"]
    assert isinstance(utils._get_latest_schema_revision(), str)
    assert utils._logger.name == "mlflow.store.db.utils"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it."""
    path: Path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with connection.quiet():
        mlflow_private.create_tables(f"sqlite:///{path}", path.parent / "artifacts")
    return path


def test_new_tables_are_of_the_newest_version_and_need_no_migration(tables: Path) -> None:
    with closing(sqlite3.connect(tables)) as database:
        (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    assert revision == utils._get_latest_schema_revision()
    mlflow_private.migrate_tables(f"sqlite:///{tables}")


def test_every_address_of_artifacts_is_in_a_column_that_longlag_knows(tables: Path) -> None:
    """A new table with addresses would be left behind when a home moves."""
    with closing(sqlite3.connect(tables)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {(name, row[1]) for name in names for row in database.execute(f"PRAGMA table_info({name})")}
    found = {(table, column) for table, column in columns if column.startswith("artifact_")}
    assert found == set(mlflow_private.ADDRESSES.items())


@pytest.mark.parametrize(
    ("revision", "refusal"), [(None, mlflow_private.NoTables), ("of-the-future", mlflow_private.UnknownTables)]
)
def test_a_database_that_is_not_mlflows(revision: str | None, refusal: type[Exception], tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        if revision is not None:
            database.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    with pytest.raises(refusal):
        mlflow_private.migrate_tables(f"sqlite:///{path}")


def test_the_ui_still_reads_every_field_of_a_saved_view() -> None:
    """A field that MLflow's pages no longer name would be ignored, and the charts of a study would be others."""
    scripts = Path(mlflow.server.__file__).parent / "js" / "build" / "static" / "js"
    text = "".join(path.read_text(encoding="utf-8") for path in scripts.glob("*.js"))
    view = views.view({"validation/score", "train/loss"})
    fields = {*view, *view["compareRunSections"][0], *view["compareRunCharts"][0]}
    assert len(fields) > 40
    written = {*fields, views.TAG.removesuffix(f".{views.KEY}"), "viewStateShareKey", "deflate;"}
    assert sorted(name for name in written if name not in text) == []


def test_no_other_file_takes_a_private_part() -> None:
    """Imports of MLflow's stores, and private names of what was imported from MLflow."""
    folder = Path(mlflow_private.__file__).parents[1]
    others = [path for path in folder.rglob("*.py") if path.name != "mlflow_private.py"]
    assert len(others) > 100
    for path in others:
        text = path.read_text(encoding="utf-8")
        assert "mlflow.store" not in text and "client._" not in text, path
