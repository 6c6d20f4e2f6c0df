"""A PostgreSQL server and an MLflow server of a test's own, on loopback, and where to find what they need."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tests.tracking.serving import free_port

SECONDS = 60


def postgresql_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None


def missing_postgresql() -> str | None:
    """Why a test that needs PostgreSQL has to be skipped; None where it need not."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    if postgresql_programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def _has_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server with a database ``longlag``; gives its address. `folder` should be a short path that all may enter."""
    programs = postgresql_programs()
    assert programs is not None
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    data, port = folder / "data", free_port()
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(folder, user)
    initdb = [str(programs / "initdb"), "-D", str(data), "-U", "longlag", "-A", "trust", "-N", "--no-instructions"]
    initdb += ["--locale=C", "-E", "UTF8"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(data), *options], stdout=log, stderr=log, cwd=folder, user=user
        )
    try:
        make = [str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "longlag", "longlag"]
        until = time.monotonic() + SECONDS
        while subprocess.run(make, stderr=subprocess.DEVNULL, cwd=folder).returncode:
            assert server.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"postgresql://longlag@127.0.0.1:{port}/longlag"
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for all clients
        server.wait(SECONDS)


@contextmanager
def dask_cluster(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers of one thread, each with a nanny that starts it again; gives the scheduler's address."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    program += ["--no-dashboard", "--scheduler-file", str(file)]
    with (folder / "log").open("wb") as log:
        started = [subprocess.Popen(program, stdout=log, stderr=log, cwd=folder)]
        try:
            until = time.monotonic() + SECONDS
            while not file.exists() or not file.read_text().endswith("}"):
                assert started[0].poll() is None and time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.1)
            program = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)]
            program += ["--host", "127.0.0.1", "--nthreads", "1", "--nworkers", str(workers), "--no-dashboard"]
            program += ["--resources", "slot=1", "--local-directory", str(folder)]
            started.append(subprocess.Popen(program, stdout=log, stderr=log, cwd=folder))
            yield str(json.loads(file.read_text())["address"])
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(SECONDS)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """An MLflow server; gives its address."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
    try:
        until = time.monotonic() + SECONDS
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as reply:
                if reply.read() == b"OK":
                    break
            assert server.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(SECONDS)
