"""A worker process: ``python -P -m longlag.workers.worker``, which reads and writes `longlag.workers.messages`."""

from __future__ import annotations

import json
import os
import queue
import socket
import sys
import threading
from typing import Any

from longlag import crash, log
from longlag.errors import UserError
from longlag.kernels import loads
from longlag.training.environment import frozen_imports, torch_threads
from longlag.workers.faults import translate_errors
from longlag.workers.messages import Sender
from longlag.workers.requests import Interrupted, RunRequest, WorkerConfig
from longlag.workers.runner import perform
from longlag.workers.stopping import Stop, graceful
from longlag.workspace import Workspace

DONE, MISTAKE, STOPPED = 0, 2, 130  # exit codes; any other is a death


class Worker:
    """Executes run requests, one after another."""

    def __init__(self, sender: Sender, stop: Stop) -> None:
        self.sender, self.stop = sender, stop
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read(self) -> None:
        """Queue the messages; the end of the input, by intent or because the supervisor died, stops the worker."""
        for line in sys.stdin:
            self.messages.put(json.loads(line))
        self.stop.requested = True
        self.messages.put(None)

    def serve(self, config: WorkerConfig) -> None:
        """Execute requests until the input ends."""
        reachable(config)
        with translate_errors(config.home), torch_threads(config.threads), frozen_imports():
            store = Workspace.open(config.home, config.tracking_uri).store()
            self.sender.send("ready")
            while (message := self.messages.get()) is not None and not self.stop():
                request = RunRequest.model_validate(message[1])

                def report(update: int, score: float, earlier: bool, waits: bool = request.answered) -> str | None:
                    self.sender.send("score", update, score, earlier)
                    return self.answer() if waits and not earlier else None

                self.sender.outcome(perform(request, config, store, [self.sender], self.stop, report))

    def answer(self) -> str | None:
        """Wait for why to prune the run, or None."""
        message = self.messages.get()
        if message is None:
            self.messages.put(None)
            return None
        return None if message[1] is None else str(message[1])


def main() -> int:
    """Read the config from standard input, then requests; write messages to standard output."""
    sender = Sender(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what libraries print goes to the log
    log.show()
    config = WorkerConfig.model_validate_json(sys.stdin.readline())
    with graceful(deliver=False) as stop, loads.on_load(lambda path: sender.send("loading", str(path))):
        worker = Worker(sender, stop)
        threading.Thread(target=worker.read, daemon=True).start()
        try:
            worker.serve(config)
        except Interrupted as interrupted:
            sender.send("interrupted", str(interrupted))
            return STOPPED
        except KeyboardInterrupt:
            return STOPPED
        except UserError as error:
            sender.send("mistake", str(error))
            return MISTAKE
    return DONE


def reachable(config: WorkerConfig) -> None:
    """Refuse to work on another machine with files that only the first one reaches.

    Raises:
        UserError: when the runs are kept in a file there.
    """
    if socket.gethostname() == config.host:
        return
    if config.tracking_uri is None or config.tracking_uri.startswith("sqlite"):
        raise UserError(f"the runs are kept in a file on {config.host}: workers elsewhere need --tracking-uri http://…")


if __name__ == "__main__":
    sys.excepthook = crash.print_traceback
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that reads cannot be joined
