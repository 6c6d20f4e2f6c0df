"""One PostgreSQL and one MLflow server for all tests of a session that need them: each takes seconds to start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.search.serving import PostgreSQL, missing_postgresql, mlflow_server


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
