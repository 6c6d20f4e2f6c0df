"""A Dask cluster of a test's own, on loopback: a scheduler and its workers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.limits import SECONDS


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
