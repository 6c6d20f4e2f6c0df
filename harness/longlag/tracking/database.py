"""A database of MLflow's on a server, such as PostgreSQL: whether it can be used, in seconds and in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longlag.errors import UserError, quoted, shortened
from longlag.tracking import mlflow_private

CONNECT_SECONDS = 10
TIMEOUT: dict[str, dict[str, Any]] = {
    "postgresql": {"connect_timeout": CONNECT_SECONDS},
    "mysql": {"connect_timeout": CONNECT_SECONDS},
    "mssql": {"timeout": CONNECT_SECONDS},
}
"""Of a connection, in the words of each database's drivers."""
EXTRAS = {"psycopg": "'longlag[postgresql]'", "MySQLdb": "mysqlclient"}
"""Driver -> what pip is given, where that is not its name."""


def prepare(uri: str, artifacts: Path) -> None:
    """Be sure that a database can be used: MLflow's own client tries for minutes, and logs every attempt.

    Its tables are made where it is empty. Those of an older MLflow are not migrated: others may use them.

    Args:
        uri: of the database.
        artifacts: folder for the files of runs in experiments that are not longlag's.

    Raises:
        UserError: when its driver is not installed, it does not answer, or is not MLflow's of this version.
    """
    import sqlalchemy
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool, connect_args=TIMEOUT[_kind(uri)])
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
    except ImportError as error:
        raise UserError(
            f"tracking URI {quoted(uri)} needs the package {error.name}: "
            f"pip install {EXTRAS.get(str(error.name), error.name)}"
        ) from error
    except (ArgumentError, TypeError, UnicodeError) as error:  # of a driver with other words, or of a host name
        raise UserError(f"tracking URI {quoted(uri)} cannot be used: {shortened(error)}") from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise UserError(
            f"the tracking database {uri} cannot be reached ({reason}); start it, or leave out the tracking URI to "
            "record in the home"
        ) from error
    if tables and "experiments" not in tables:
        raise UserError(f"{uri} is a database, but not one of MLflow's; choose another")
    try:
        mlflow_private.create_tables(uri, artifacts)
    except MlflowException as error:
        raise UserError(f"the tracking database {uri} cannot be used: {shortened(error)}") from error


def _kind(uri: str) -> str:
    return uri.partition("://")[0].partition("+")[0]
