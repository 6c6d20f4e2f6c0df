"""Signs of life of running trials: given by their driver, and watched by the others. No step of a clock stops one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from longlag.log import log
from longlag.optuna_private import heartbeats, set_user_attributes, trial_id
from longlag.study.budget import LIVED
from longlag.study.storage import HEARTBEAT, MISSED, Storage

NOTED = 20.0
"""Seconds between two notes of how long a trial has run."""


class Heartbeat:
    """Signs of life of the trials that this process runs, given by a thread.

    Args:
        storage: of the study.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.trials: dict[int, float] = {}
        """By their keys in the storage: when they began, by this process's own clock."""
        self.closed = threading.Event()
        self.thread: threading.Thread | None = None

    def add(self, trial: optuna.Trial) -> None:
        self.storage.record_heartbeat(trial_id(trial))
        self.trials[trial_id(trial)] = time.monotonic()
        if self.thread is None:
            self.thread = threading.Thread(target=self._beat, daemon=True)
            self.thread.start()

    def remove(self, trial: optuna.Trial) -> None:
        self.trials.pop(trial_id(trial), None)

    def note(self, trial: optuna.Trial, **attributes: Any) -> None:
        """Write down how long the trial has run, which outlasts the process, and attributes."""
        self._note(trial_id(trial), self.trials[trial_id(trial)], **attributes)

    def close(self) -> None:
        """End the thread."""
        self.closed.set()
        if self.thread is not None:
            self.thread.join()

    def _note(self, trial: int, began: float, **attributes: Any) -> None:
        set_user_attributes(self.storage, trial, {LIVED: time.monotonic() - began, **attributes})

    def _beat(self) -> None:
        interval = self.storage.get_heartbeat_interval() or HEARTBEAT
        noted = time.monotonic()
        while not self.closed.wait(min(interval, NOTED)):
            note = time.monotonic() - noted >= NOTED
            noted = time.monotonic() if note else noted
            for trial, began in list(self.trials.items()):
                self.storage.record_heartbeat(trial)
                if note:
                    try:
                        self._note(trial, began)
                    except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:  # it has ended, or the database
                        log.info("trial %d is not marked as alive: %s", trial, error, exc_info=True)
        self.storage.remove_session()


@dataclass
class _Observed:
    """A trial of another process, as this one sees it.

    Args:
        heartbeat: its last.
        looked: when this process last looked, by its own clock.
        missed: how often it looked an interval later and found no new heartbeat.
    """

    heartbeat: datetime
    looked: float
    missed: int = 0


class HeartbeatMonitor:
    """Finds the running trials whose heartbeat stopped."""

    def __init__(self) -> None:
        self.observed: dict[int, _Observed] = {}

    def silent(self, storage: Storage, study: optuna.Study, unseen: set[int]) -> set[int]:
        """The numbers of running trials that missed `MISSED` heartbeats.

        A process that asks repeatedly sees it by its own clock, which never steps. It counts a missed heartbeat each
        time that it looks an interval later, so that waking from sleep counts as one.

        Args:
            storage: of the study.
            study: Optuna's.
            unseen: numbers of the trials whose processes cannot be seen from here. The age of their heartbeats counts
                as well, where the database has a clock of its own.
        """
        now, interval = time.monotonic(), storage.get_heartbeat_interval() or HEARTBEAT
        found = heartbeats(storage, study)
        self.observed = {number: self._look(number, beat, now, interval) for number, (beat, _) in found.items()}
        old = timedelta(seconds=MISSED * interval)
        overdue = {n for n, (_, age) in found.items() if n in unseen and storage.has_clock and age > old}
        return overdue | {number for number, trial in self.observed.items() if trial.missed >= MISSED}

    def _look(self, number: int, heartbeat: datetime, now: float, interval: float) -> _Observed:
        before = self.observed.get(number)
        if before is None or before.heartbeat != heartbeat:
            return _Observed(heartbeat, now)
        if now - before.looked >= interval:
            return _Observed(heartbeat, now, before.missed + 1)
        return before
