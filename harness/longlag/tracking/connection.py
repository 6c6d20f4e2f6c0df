"""Connecting to MLflow's store: a database, made or migrated once, or a server that is known to answer."""

from __future__ import annotations

import http.client
import logging
import queue
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from longlag import reading
from longlag.credentials import bare, basic
from longlag.errors import UserError, clipped, quoted
from longlag.log import log
from longlag.tracking import database, mlflow_private, tables
from longlag.tracking.home import Home
from longlag.tracking.reading import ClientReader, Reader, SqliteReader

if TYPE_CHECKING:
    from mlflow import MlflowClient

Reply = TypeVar("Reply")
HEALTH_SECONDS = 12.0
"""How long a server may take to answer at all."""
SLOW_SECONDS = 2.0
"""A server that takes longer is said to be slow."""
SERVERS = ("http://", "https://")
SQLITE = "sqlite:///"
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
LOGIN = (
    "give its user name and password, as http://USER:PASSWORD@HOST or in MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD"
)


def location(home: Home, uri: str | None) -> str:
    """The address of the store: `uri`, or the home's own database.

    Raises:
        UserError: when it is of a kind that MLflow's tracking does not know, or cannot be read.
    """
    if uri is None:
        return home.tracking_uri
    if uri.startswith(SQLITE):
        return f"{SQLITE}{reading.database(uri.removeprefix(SQLITE))}"
    _readable(uri)
    if uri.startswith(SERVERS):
        return uri.rstrip("/")
    if uri.split(":")[0].split("+")[0] in database.TIMEOUT and "://" in uri:
        return uri
    raise UserError(
        f"tracking URI {quoted(uri)}: should be an MLflow server (http://host:5000) or a database "
        f"(sqlite:///file.db, postgresql://…)"
    )


def _readable(uri: str) -> None:
    """Refuse an address whose parts cannot be told apart."""
    try:
        parts = urlsplit(uri)
        whole = parts.port is None or bool(parts.hostname)  # reading the port raises where it is part of a password
    except ValueError:
        whole = False
    server = uri.startswith(SERVERS)
    if not whole or re.search(r"\s", uri) or (server and "@" in parts.path):
        # without the reason, and not raised from it: it may hold a part of the password
        raise UserError(
            f"tracking URI {quoted(uri)} cannot be read: it should be http://host:5000 or "
            "http://USER:PASSWORD@host:5000, with %20 for a space, %2F for / and %40 for @ in the password"
        ) from None
    if server and (parts.query or parts.fragment):
        raise UserError(f"tracking URI {quoted(uri)}: the address of an MLflow server ends before the ? or #")


def prepare(home: Home, uri: str | None = None) -> None:
    """Be sure that the store at `uri`, or the home's own, can be used; its tables are made where there are none.

    Raises:
        UserError: when the server does not answer, or the database is none of MLflow's, or of a newer MLflow.
    """
    where = location(home, uri)
    if where.startswith(SERVERS):
        check_health(where)
    elif not where.startswith(SQLITE):
        with quiet(), home.lock():
            database.prepare(where, home.artifacts)
    else:
        with quiet(), home.lock():
            _prepare(where, home.artifacts)
            if uri is None:
                with closing(sqlite3.connect(home.root / "mlflow.db", timeout=20)) as own, own:
                    mlflow_private.relocate(own, home.artifacts.as_uri())


def client(where: str) -> MlflowClient:
    """MLflow's client of a store that is prepared."""
    with quiet():
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=where)


def reader(where: str, of: Callable[[], MlflowClient]) -> Reader:
    """What reads a store that is prepared; `of` makes its client, where that is needed."""
    path = Path(where.removeprefix(SQLITE))
    return SqliteReader(path) if where.startswith(SQLITE) and mlflow_private.known_tables(path) else ClientReader(of)


@contextmanager
def quiet() -> Iterator[None]:
    """Without MLflow's messages about tables, and its dependencies' about their own future."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def check_health(server: str, seconds: float | None = None) -> None:
    """Be sure that an MLflow server answers, within `HEALTH_SECONDS` if not given: MLflow's client tries for minutes.

    Raises:
        UserError: when it does not.
    """
    request, login = urllib.request.Request(f"{bare(server)}/health"), basic(server)
    if login is not None:
        request.add_unredirected_header("Authorization", login)
    try:
        with slowness(server), urllib.request.urlopen(request, timeout=seconds or HEALTH_SECONDS) as reply:
            healthy = reply.read(100).strip() == b"OK"
    except urllib.error.HTTPError as error:
        if error.code == 401 and login is not None:
            raise UserError(f"the tracking server {clipped(server)} refuses the user name or the password") from error
        if error.code in (401, 403):  # it wants credentials, which MLflow's client takes from its own variables
            return
        raise UserError(f"no MLflow server at {clipped(server)}: it answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"the tracking server {clipped(server)} does not answer ({reason}); start it, or leave out the tracking "
            "URI to record in the home"
        ) from error
    if not healthy:
        raise UserError(f"no MLflow server at {clipped(server)}: something else answers there")


@contextmanager
def slowness(uri: str) -> Iterator[None]:
    """Say so, once for every server, when what is inside takes long."""
    began = time.monotonic()
    yield
    if time.monotonic() - began > SLOW_SECONDS:
        _say_slow(bare(uri))


@cache
def _say_slow(server: str) -> None:
    log.warning("the tracking server %s is slow; training does not wait for it", clipped(server))


def within(seconds: float, ask: Callable[[], Reply]) -> Reply:
    """What `ask` returns, if it does so in time.

    Raises:
        TimeoutError: when it does not; it is left behind.
        Exception: what `ask` raises.
    """
    replies: queue.SimpleQueue[tuple[Reply, None] | tuple[None, Exception]] = queue.SimpleQueue()

    def work() -> None:
        try:
            replies.put((ask(), None))
        except Exception as error:  # for who waits
            replies.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        reply = replies.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if reply[1] is not None:
        raise reply[1]
    return reply[0]


def server_fault(error: BaseException) -> str | None:
    """What to say of an error of MLflow's client that a server is the cause of; None for any other error."""
    if type(error).__module__ != "mlflow.exceptions":
        return None
    code = getattr(error, "error_code", "")
    if code in REFUSED:
        return f"the tracking server refuses this user ({code}): {LOGIN}"
    if code == "TEMPORARILY_UNAVAILABLE" and "(sqlite3." not in str(error):
        return "the tracking database does not answer any more"
    asked = re.match(r"API request to (https?://.*?)/api/\S* failed with", str(error))  # the words of http_request
    return None if asked is None else f"the tracking server {clipped(asked[1])} does not answer any more"


def _prepare(uri: str, artifacts: Path) -> None:
    """Create or migrate the tables. Processes that did so at once would break one another: hold the lock."""
    path = Path(uri.removeprefix(SQLITE))
    if not path.exists() or path.stat().st_size == 0:
        _create(path, artifacts)
        return
    _keep_in_wal(path, path)
    try:
        mlflow_private.migrate_tables(uri)
    except mlflow_private.NoTables as error:
        raise UserError(
            f"{path} is a database, but not one of MLflow's, or one that was never finished; choose another"
        ) from error
    except mlflow_private.UnknownTables as error:
        raise UserError(
            f"{path} was written by a newer MLflow, or by another program; upgrade mlflow or choose another database"
        ) from error


def _create(path: Path, artifacts: Path) -> None:
    """Make the database beside its place and rename it when it is whole: MLflow takes a second and forty steps for its
    tables, and cannot go on with what a process left that was killed on the way. Later databases are copies."""
    made = path.with_name(f"{path.name}.new")
    for left in (made, *(made.with_name(made.name + end) for end in ("-wal", "-shm", "-journal"))):
        left.unlink(missing_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    empty = tables.kept()
    if empty is None:
        _keep_in_wal(made, path)
        mlflow_private.create_tables(f"{SQLITE}{made}", artifacts)
    else:
        try:
            made.write_bytes(empty)
        except OSError as error:
            raise UserError(f"{path} cannot be used as MLflow's database: {error}") from error
        with closing(sqlite3.connect(made)) as copy, copy:
            mlflow_private.relocate(copy, artifacts.as_uri())
    with closing(sqlite3.connect(made)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if empty is None:
        tables.keep(made.read_bytes())
    made.replace(path)


def _keep_in_wal(file: Path, meant: Path) -> None:
    """Write-ahead, which persists: readers and a writer get along."""
    try:
        with closing(sqlite3.connect(file, timeout=20)) as database:
            database.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise UserError(f"{meant} cannot be used as MLflow's database: {error}{remedy(error)}") from error


def remedy(error: object) -> str:
    """What to do about a file that SQLite cannot read as a database; empty for any other error."""
    if not re.search("malformed|is not a database", str(error)):
        return ""
    return (
        "; restore it from a backup, or move it away: the same command makes a new one and takes the runs from their "
        "files in the home"
    )
