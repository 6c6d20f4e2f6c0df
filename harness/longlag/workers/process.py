"""A worker process, as the one who starts it sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

MODULE = "longlag.workers.study_process"
DONE, STOPPED, MISTAKE = 0, 130, 2  # how a worker process ends, if not by death
PATIENCE = 5  # processes in a row that may die before one of them finishes a trial
LOOK = 0.5  # seconds
End = Literal["done", "stopped", "mistake", "died"]


class Process:
    """One of them, started. It is in a session of its own: Ctrl-C in the terminal does not reach it.

    Args:
        job: a `longlag.study.worker.Job` as JSON, which it reads from its standard input.
        threads: that it is to compute with.
        log: file for what it prints.
        tell: told, by a thread of its own, every event that the process writes: a name and its arguments.

    Raises:
        OSError: when the log cannot be written.
    """

    def __init__(self, job: str, threads: int, log: Path, tell: Callable[[list[Any]], None]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.tell = tell
        with log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it died at once; `poll` will say so
            self._process.stdin.write(job + "\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """How it ended, once everything it told has been handed on; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._reader.join(LOOK)
            self.stop()
        return code

    def stop(self) -> None:
        """Let it save what is in hand and end; the same happens when this process dies."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def kill(self) -> None:
        """At once."""
        self._process.kill()
        self._process.wait()
        self.stop()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with suppress(ValueError):  # it was killed within the line
                    self.tell(json.loads(line))


def how(code: int) -> str:
    """In words."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def keep(
    job: str,
    threads: int,
    log: Path,
    tell: Callable[[list[Any]], None],
    wanted: Callable[[], Literal["go", "stop", "kill"]],
) -> tuple[End, str]:
    """Keep one worker process going, with another one after each that dies.

    Args:
        job: as of `Process`.
        threads: as of `Process`.
        log: as of `Process`.
        tell: as of `Process`; deaths are told as ``worker_died``.
        wanted: asked every `LOOK` seconds.

    Returns:
        How it ended, and a user's mistake or the last words of the last of `PATIENCE` processes in a row that died.
    """
    deaths, mistake = 0, ""

    def hear(what: list[Any]) -> None:
        nonlocal deaths, mistake
        if what[0] == "mistake":
            mistake = what[1]
            return
        if what[0] == "trial_ended":
            deaths = 0
        tell(what)

    while True:
        process = Process(job, threads, log, hear)
        try:
            while (code := process.poll()) is None:
                time.sleep(LOOK)
                wish = wanted()
                if wish == "stop":
                    process.stop()
                elif wish == "kill":
                    process.kill()
        except BaseException:
            process.kill()
            raise
        if code == DONE:
            return "done", ""
        if code == MISTAKE:
            return "mistake", mistake
        if code == STOPPED or wanted() != "go":
            return "stopped", ""
        deaths += 1
        if deaths >= PATIENCE:
            return "died", f"{how(code)}; {log}: {last_words(log)}"
        tell(["worker_died", f"{how(code)}; see {log}"])


def last_words(log: Path) -> str:
    """The last line of a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return str(error)
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
