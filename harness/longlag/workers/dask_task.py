"""What a Dask worker is asked to do: keep one worker process going, and pass on what it tells.

The process, not Dask's worker, does the work: it has its own interpreter, one thread, and a death that harms nobody
else. When Dask's worker dies, the process sees its standard input end, saves what is in hand and ends as well.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

from longlag.workers.process import End, keep

LEASE = 60.0  # seconds without a sign of life of the sweep, after which it counts as dead
ASK = 2.0  # seconds


class Lease:
    """What the sweep wants, by a variable in the scheduler that it renews: a number that grows, and a wish."""

    def __init__(self, name: str) -> None:
        from distributed import Variable

        self.variable = Variable(name)
        self.last: Any = None
        self.wish: Literal["go", "stop", "kill"] = "go"
        self.renewed = self.asked = time.monotonic()

    def __call__(self) -> Literal["go", "stop", "kill"]:
        now = time.monotonic()
        if now - self.asked > ASK:
            self.asked = now
            try:
                value = self.variable.get(timeout=ASK)
            except Exception:  # the scheduler is gone, or busy: the lease runs on
                value = self.last
            if value is not None and value != self.last:
                self.last, self.wish, self.renewed = value, value[1], now
        if now - self.renewed > LEASE:
            return "stop"
        return self.wish


def work(job: str, threads: int, log: str, index: int, name: str) -> tuple[End, str]:
    """The task. Raises whatever keeps a process from being started.

    Args:
        job: as of `longlag.workers.process.Process`.
        threads: as there.
        log: as there.
        index: of this worker in its sweep.
        name: of the sweep: of its variable, and of the topic that events are logged under.
    """
    from distributed import get_worker

    worker = get_worker()

    def tell(what: list[Any]) -> None:
        worker.log_event(name, [index, what])

    tell(["hosted", worker.address])
    return keep(job, threads, Path(log), tell, Lease(name))
