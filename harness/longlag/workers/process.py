"""A worker process, as seen by the process that starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from longlag.crash import private
from longlag.log import log
from longlag.workers.messages import Message
from longlag.workers.requests import WorkerConfig

MODULE = "longlag.workers.worker"
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
"""What kills a process whose native code is wrong."""


class WorkerProcess:
    """One worker process. It has a session of its own: Ctrl-C in the terminal does not reach it.

    Args:
        config: what the worker reads first.
        log_file: file for what it prints.
        receive: called with every message, from a thread; last with ``ended`` and how.

    Raises:
        OSError: when the log cannot be written.
    """

    def __init__(self, config: WorkerConfig, log_file: Path, receive: Callable[[Message], None]) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file, self.receive = log_file, receive
        self.library = ""  # that it loaded last
        with open(log_file, "w", encoding="utf-8", opener=private) as file:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                encoding="utf-8",
                env=environment(config.threads),
                start_new_session=True,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._write(config.model_dump_json())
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def send(self, *message: object) -> None:
        self._write(json.dumps(message))

    def stop(self) -> None:
        """Let it save its run and end; the same happens when this process dies."""
        with suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.stop()
        self.reader.join()

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # it is dead or was stopped: ``ended`` will say so
            if self.process.stdin is not None:
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                try:
                    message = json.loads(line)
                except ValueError:  # it was killed within the line
                    log.info("half a message of worker %s: %r", self.process.pid, line)
                    continue
                if message[0] == "loading":
                    self.library = message[1]
                else:
                    self.receive(message)
        code = self.process.wait()
        self.stop()
        self.receive(["ended", self._how(code)])

    def _how(self, code: int) -> str:
        """How the process ended, in words; where a kernel may be the cause, with what to do."""
        what = f"signal {-code}" if code < 0 else f"exit code {code}"
        if -code in FAULTS and self.library:
            what += f" ({signal.Signals(-code).name}); the last kernel library that it loaded is {self.library}"
            what += ", which can be deleted and is built again then"
        hint = "; was there too little memory?" if -code == signal.SIGKILL else ""
        return f"{what}; see {self.log_file}{hint}"


def environment(threads: int) -> Mapping[str, str]:
    """The environment of a worker process: neither the current folder nor the script's may shadow a module.

    ``-P`` keeps both off the path; PYTHONPATH could bring them back.
    """
    shadows = {Path.cwd(), Path(sys.argv[0] or ".").absolute().parent}
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    entries = [entry for entry in given if entry and Path(entry).absolute() not in shadows]
    path = {"PYTHONPATH": os.pathsep.join(entries)}
    return {**os.environ, **path, "OMP_NUM_THREADS": str(threads)}


def last_words(log_file: Path) -> str:
    """The last line of a log."""
    try:
        lines = log_file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        return str(error)
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
