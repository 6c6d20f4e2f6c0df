"""Which process holds a trial, and whether it still lives."""

from __future__ import annotations

import os
import socket
from typing import Any

import psutil
from optuna.trial import FrozenTrial


def holder() -> dict[str, Any]:
    """What identifies this process in a trial."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": psutil.Process().create_time()}


def is_dead(trial: FrozenTrial) -> bool:
    """Whether the process that runs a trial is gone. Of other machines only the heartbeat knows.

    Its name is written while the lock is held: who holds the lock and finds no name finds a dead one.
    """
    process = trial.user_attrs.get("process")
    if process is None:
        return True
    if process["host"] != socket.gethostname():
        return False
    try:
        # the number may have been given to another process since; clocks are read to some hundredths of a second
        return bool(abs(psutil.Process(process["pid"]).create_time() - process["since"]) > 1)
    except psutil.NoSuchProcess:
        return True
