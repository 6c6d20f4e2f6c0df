"""A worker as a process of its own: ``python -m longlag.workers.study_process``, started by `longlag.workers`."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading

from longlag.errors import UserError
from longlag.study.faults import translate_errors
from longlag.study.storage import no_experimental_warnings, shared
from longlag.study.store import StudyStore
from longlag.study.worker import Job, Worker
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.environment import torch_threads
from longlag.workers.events import Teller
from longlag.workers.process import DONE, MISTAKE, STOPPED
from longlag.workers.stopping import graceful


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
            elsewhere(job)
            home = Home.open(job.home)
            with translate_errors(job.home, job.optuna_url), torch_threads(job.threads), no_experimental_warnings():
                store = Store.open(home, job.tracking_uri)
                study_store = StudyStore.open(job.spec, job.optuna_url)
                Worker(job, study_store, store, [teller], stop).go()
        except KeyboardInterrupt:
            return STOPPED
        except UserError as error:
            teller.tell("mistake", str(error))
            return MISTAKE
    return DONE


def elsewhere(job: Job) -> None:
    """Refuse to work on another machine with what only the first one reaches.

    Raises:
        UserError: when the study or the runs are kept in files there.
    """
    if socket.gethostname() == job.host:
        return
    if not shared(job.optuna_url):
        raise UserError(f"the study is kept in a file on {job.host}: workers elsewhere need --storage postgresql://…")
    if job.tracking_uri is None or job.tracking_uri.startswith("sqlite"):
        raise UserError(f"the runs are kept in a file on {job.host}: workers elsewhere need --tracking-uri http://…")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that watches the parent cannot be joined
