"""A PostgreSQL server of a test's own, on loopback, and where its programs are."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from tests.servers.limits import SECONDS
from tests.servers.ports import free_port


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


class PostgreSQL:
    """A server with a database ``longlag``, which can be stopped and started again.

    Args:
        folder: for its files; should be a short path that all may enter.
    """

    def __init__(self, folder: Path) -> None:
        programs = postgresql_programs()
        assert programs is not None
        self.programs, self.folder, self.port = programs, folder, free_port()
        self.url = f"postgresql://longlag@127.0.0.1:{self.port}/longlag"
        self.user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self.user is not None:
            shutil.chown(folder, self.user)
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "longlag", "-A", "trust", "-N"]
        initdb += ["--no-instructions", "--locale=C", "-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=self.user)
        self.start()
        subprocess.run([str(programs / "createdb"), *self._asked(), "longlag"], check=True, cwd=folder)

    def start(self) -> None:
        """Until it answers."""
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *options, "-c", "fsync=off"]
        file = self.folder / "log"
        with file.open("ab") as log:
            self.server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, user=self.user)
        ready = [str(self.programs / "pg_isready"), "-q", *self._asked()]
        until = time.monotonic() + SECONDS
        while subprocess.run(ready, cwd=self.folder).returncode:
            assert self.server.poll() is None and time.monotonic() < until, file.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, whoever is connected."""
        self.server.send_signal(signal.SIGINT)  # SIGTERM would wait for all clients
        self.server.wait(SECONDS)

    def _asked(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "longlag"]
