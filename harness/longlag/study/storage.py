"""The database that a study is kept in: its address, its tables, and the lock of all who write to it."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from longlag import locks, reading
from longlag.errors import UserError, clipped, quoted, shortened
from longlag.optuna_private import ReadOnce
from longlag.packages import PSYCOPG
from longlag.tracking.connection import remedy
from longlag.workspace import Workspace

HEARTBEAT = 60
"""Seconds between two signs of life of a trial: tells the dead from the living where their processes cannot be seen."""
MISSED = 3
"""Heartbeats that a trial may miss before it counts as dead."""
SQLITE = "sqlite:///"
POSTGRESQL = "postgresql+psycopg://"
SILENCE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Of TCP, in seconds: after a minute's silence the other end counts as gone. Without it a host that lost its power
would hold the lock of its study for two hours."""


class Storage(ReadOnce):
    """Optuna's, but that a database which is gone for a moment does not end the heartbeat of a trial, and that no
    connection is made under a lock that its server has lost.
    """

    _held: Any = None
    """The connection that holds the lock of this process, on a server."""

    def record_heartbeat(self, trial_id: int) -> None:
        with suppress(optuna.exceptions.StorageInternalError):
            super().record_heartbeat(trial_id)

    def beat(self, seconds: int) -> None:
        """How often trials give a sign of life; `MISSED` times as long without one, and they count as dead."""
        self.heartbeat_interval, self.grace_period = seconds, MISSED * seconds

    def close(self) -> None:
        """Give back its connections; whoever uses it again gets new ones."""
        self.remove_session()
        self.engine.dispose()

    @contextmanager
    def closed_if_refused(self) -> Iterator[None]:
        """Give back its connections when what is inside raises."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    @property
    def has_clock(self) -> bool:
        """Whether the database's time is that of a server, the same for all who ask."""
        return self.engine.dialect.name == "postgresql"

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Held by one process at a time, on whatever machine; given back when the process dies."""
        with _lock(self.engine, what) as self._held:
            try:
                yield
            finally:
                self._held = None

    def require_lock(self, *_: Any) -> None:
        """Raise when the server has lost the lock: one that restarts gives it to another process at once, and new
        connections are made as if nothing had been.
        """
        if self._held is not None:
            self._held.execute("SELECT 1")


def address(url: str) -> str:
    """A storage as a user names it, as the database drivers want it.

    Raises:
        UserError: for another database than PostgreSQL or SQLite, or where the driver is missing.
    """
    scheme, separator, rest = url.partition("://")
    if url.startswith(SQLITE):
        return f"{SQLITE}{reading.database(url.removeprefix(SQLITE))}"
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UserError(
            f"storage {quoted(url)}: should be postgresql://user@host/database, or on one machine sqlite:///file.db"
        )
    PSYCOPG.require()
    try:
        make_url(url)
    except (SQLAlchemyError, ValueError):  # without its words: they may hold a part of the password
        raise UserError(f"storage {quoted(url)} cannot be read: it should be postgresql://host:5432/name") from None
    return f"{POSTGRESQL}{rest}"


def where(workspace: Workspace) -> str:
    """The address of a study's database: the workspace's storage, or the home's own."""
    return workspace.home.optuna_url if workspace.storage is None else address(workspace.storage)


def lost_database(url: str) -> Callable[[BaseException], str | None]:
    """What to say of an error that a database on another machine raises when it is gone."""

    def message(error: BaseException) -> str | None:
        if shared(url) and isinstance(error, OperationalError | InterfaceError):
            reason = str(error.orig or error).strip().splitlines()[-1]
            return f"the study storage {url} went away ({reason})"
        return None

    return message


def shared(url: str) -> bool:
    """Whether other machines can reach it."""
    return url.startswith(POSTGRESQL)


def connect(url: str) -> Storage:
    """Optuna's storage in a database; its tables are made if there are none. Not while its lock is held.

    Raises:
        UserError: when it does not answer, or is another program's.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    arguments = engine_arguments(url)
    try:
        # two processes that make the tables at once would break one another
        engine = sqlalchemy.create_engine(url, **arguments, poolclass=NullPool)
        with _lock(engine, "longlag tables"), no_experimental_warnings():
            storage = Storage(url, arguments | _pool(url), heartbeat_interval=HEARTBEAT)
            sqlalchemy.event.listen(storage.engine, "connect", storage.require_lock)
    except (SQLAlchemyError, RuntimeError, ValueError) as error:  # RuntimeError: the tables are of another Optuna
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[-1]
        raise UserError(
            f"the study storage {clipped(url)} cannot be used: {shortened(reason)}{remedy(reason)}"
        ) from error
    storage.beat(HEARTBEAT)
    return storage


def engine_arguments(url: str) -> dict[str, Any]:
    """What SQLAlchemy's engine needs for it."""
    if not shared(url):
        return {"connect_args": {"timeout": 60}}
    server = " ".join(f"-c tcp_{name}={seconds}" for name, seconds in SILENCE.items())
    arguments = {"connect_timeout": 10, **SILENCE, "options": server}
    return {"connect_args": arguments, "pool_events": [(_in_utc, "connect")]}


def _in_utc(connection: Any, _: Any) -> None:
    """PostgreSQL keeps heartbeats without their time zone, and each client's environment may name another one."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _pool(url: str) -> dict[str, Any]:
    """Few connections stay open: many workers share a server that takes about a hundred."""
    return {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 5} if shared(url) else {}


@contextmanager
def _lock(engine: Engine, what: str) -> Iterator[Any]:
    """A file beside a SQLite database, an advisory lock of PostgreSQL, whose connection it yields."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        with Path(f"{engine.url.database}.lock").open("a") as file:
            locks.acquire(file)
            yield
    elif engine.dialect.name == "postgresql":
        number = zlib.crc32(what.encode())
        # of the session, not of a transaction, which an administrator may have limited in time
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({number})")
            try:
                yield connection.connection.driver_connection
            finally:
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({number})")
    else:
        yield


@contextmanager
def no_experimental_warnings() -> Iterator[None]:
    """Optuna warns that heartbeats and some samplers may change in a later release: pyproject.toml bounds it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage")  # it does not know of `Heartbeat`
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Clip non-finite values")  # of diverged runs, by the gp sampler
        yield
