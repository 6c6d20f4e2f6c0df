"""A database with MLflow's tables and no runs, kept among the prepared data: a copy takes no time, MLflow a second."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from longlag import files
from longlag.caches import cache_folder
from longlag.log import log


def kept() -> bytes | None:
    """The database for the installed MLflow; None where it was not made yet or is damaged."""
    try:
        path = _path()
        return files.read_with_checksum(path)
    except FileNotFoundError:
        return None
    except (OSError, files.Damaged) as error:
        log.warning("MLflow's tables are made again, as those kept in the cache cannot be used: %s", error)
        return None


def keep(database: bytes) -> None:
    """Keep it for the homes to come; where that fails, each makes its own."""
    try:
        files.write_with_checksum(_path(), database, 0o600)
    except OSError as error:
        log.info("MLflow's tables are not kept for other homes: %s", error)


def _path() -> Path:
    return cache_folder() / f"mlflow-{version('mlflow')}.db"
