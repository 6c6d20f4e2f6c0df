"""The task that runs on a Dask worker: it holds one worker process and passes messages on.

The process, not Dask's worker, trains: it has its own interpreter, one thread, and a death that harms nothing else.
When Dask's worker dies, the process sees its standard input end, saves its run and ends as well.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from longlag.log import log
from longlag.workers.messages import Message
from longlag.workers.process import WorkerProcess
from longlag.workers.requests import WorkerConfig

LEASE = 60.0  # seconds without a message from the supervisor, after which it counts as dead
ASK = 2.0  # seconds


def host(config: WorkerConfig, log_file: str, slot: int, topic: str) -> str:
    """Start a worker process, pass messages on until it has ended, and return how it did.

    Args:
        config: of the worker.
        log_file: file for what the process prints.
        slot: of the worker.
        topic: under which messages to the supervisor are logged as events. Messages to the worker are in a queue of
            Dask's, whose name the first event gives: a new one for every process, so that none reads another's.

    Raises:
        OSError: when the log cannot be written.
    """
    from distributed import Queue, get_worker

    worker, name = get_worker(), f"{topic}-{slot}-{uuid.uuid4().hex[:8]}"
    ends: list[str] = []

    def receive(message: Message) -> None:
        if message[0] == "ended":
            ends.append(message[1])
        else:
            worker.log_event(topic, [slot, name, list(message)])

    inbox = Queue(name)
    worker.log_event(topic, [slot, name, ["hosted", worker.address]])
    process = WorkerProcess(config, Path(log_file), receive)
    heard = time.monotonic()
    try:
        while process.process.poll() is None:
            kind, *rest = following(inbox)
            if kind != "nothing":
                heard = time.monotonic()
            elif time.monotonic() - heard > LEASE:
                kind = "stop"
            if kind in ("run", "answer"):
                process.send(kind, *rest)
            elif kind == "stop":
                process.stop()
            elif kind == "kill":
                process.kill()
    except BaseException:
        process.kill()
        raise
    process.reader.join()
    inbox.close()
    return ends[0]


def following(inbox: Any) -> Message:
    """The next message to the worker; ``nothing`` after a while, for the lease runs on also without a scheduler."""
    try:
        message: Message = inbox.get(timeout=ASK)
    except TimeoutError:
        return ["nothing"]
    except Exception as error:
        log.info("no message from the Dask scheduler: %s", error, exc_info=True)
        time.sleep(ASK)
        return ["nothing"]
    return message
