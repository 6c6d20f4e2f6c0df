"""A worker as a process of its own: ``python -m harness.search.process``, started by `harness.search.pool`."""

from __future__ import annotations

import json
import os
import sys
import threading

from harness.registry import UserError
from harness.search import ledger
from harness.search.events import Teller
from harness.search.ledger import Ledger
from harness.search.runner import torch_threads
from harness.search.stopping import graceful
from harness.search.worker import DONE, MISTAKE, STOPPED, Job, Worker
from harness.tracking.home import Home
from harness.tracking.store import Store


def main() -> int:
    """Read a job from standard input, work, tell what happens on standard output; stop when the input ends."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    teller = Teller(events)
    job = Job.model_validate(json.loads(sys.stdin.readline()))
    with graceful(deliver=False) as stop:

        def watch_parent() -> None:
            sys.stdin.read()  # ends when the parent closes it, or dies
            stop.asked = True

        threading.Thread(target=watch_parent, daemon=True).start()
        try:
            home = Home(job.home)
            store = Store.open(home, job.tracking_uri)
            with torch_threads(job.threads), ledger.no_experimental_warnings():
                with home.lock():
                    book = Ledger.open(job.spec, job.optuna_url)
                Worker(job, book, store, [teller], stop).go()
        except KeyboardInterrupt:
            return STOPPED
        except UserError as error:
            teller.tell("mistake", str(error))
            return MISTAKE
    return DONE


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that watches the parent cannot be joined
