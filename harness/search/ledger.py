"""The Optuna side of a study: opening it, whose it is, what is settled, and what a dead process left behind."""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from harness.registry import UserError, suggestion
from harness.search import samplers, space
from harness.search.budget import Spent, spent
from harness.spec import StudySpec, axes, load_study

DEATHS = 3  # of processes in one trial, after which it is a failed one
FAILURES = 20  # trials in a row, after which a study that only a budget ends is given up
HEARTBEAT, GRACE = 60, 180  # seconds; tells the dead from the living on other machines, where no process can be seen


@dataclass(frozen=True)
class Ledger:
    """A study in Optuna's storage.

    Args:
        spec: the study.
        study: Optuna's, with the sampler and pruner that the spec names.
        storage: where it is kept.
    """

    spec: StudySpec
    study: optuna.Study
    storage: optuna.storages.BaseStorage

    @classmethod
    def open(cls, spec: StudySpec, url: str) -> Ledger:
        """Create the study, or take up the one of this name.

        Raises:
            UserError: when the study of this name is another search.
        """
        storage = connect(url)
        study = optuna.create_study(
            study_name=spec.name,
            storage=storage,
            directions=["minimize"] * len(spec.objectives),
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),
        )
        identity = spec.identity()
        before = study.user_attrs.get("identity")
        if before is None:
            study.set_metric_names(list(spec.objectives))
            study.set_user_attr("identity", identity)
        elif before != identity:
            raise UserError(_differs(spec, study.user_attrs.get("spec", {})))
        study.set_user_attr("spec", spec.model_dump(mode="json"))
        with no_experimental_warnings():
            first = samplers.sampler(spec, 0)
            study = optuna.load_study(
                study_name=spec.name, storage=storage, sampler=first, pruner=samplers.pruner(spec)
            )
        return cls(spec, study, storage)

    @property
    def total(self) -> int | None:
        """How many trials the study is to have at most; None where only a budget ends it.

        Without `trials`, a space that has an end needs no more of them than it has points.
        """
        points = space.size(self.spec.space)
        asked = self.spec.trials
        if asked is None or (self.spec.sampler.name == "grid" and points is not None):
            return points if asked is None or points is None else min(points, asked)
        return asked

    def spent(self) -> Spent:
        """What it has used up."""
        everything = self.study.get_trials(deepcopy=False)
        return spent(current(everything), everything, _is_dead)

    def standing(self) -> str:
        """How far it is, for people."""
        return f"{self.settled()} trials" if self.total is None else f"{self.settled()} of {self.total} trials"

    def trials(self) -> list[FrozenTrial]:
        """Every trial but those that were taken up again as another one."""
        return current(self.study.get_trials(deepcopy=False))

    def settled(self) -> int:
        """Trials that need no more work: finished, pruned, or failed and not taken up again.

        A grid counts points, so that two processes that happened on the same one count it once.
        """
        finished = [trial for trial in self.trials() if trial.state.is_finished()]
        if self.spec.sampler.name != "grid":
            return len(finished)
        return len({json.dumps(trial.params, sort_keys=True) for trial in finished})

    def remaining(self) -> int:
        """Trials that this process could begin now; those that another one works on are not among them.

        With a budget, as long as there is room: then one. What had begun before is taken up again in any case.
        """
        trials = self.trials()
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        open_ = math.inf if self.total is None else max(0, self.total - self.settled() - running)
        if self.spec.total_updates is None and self.spec.hours is None:
            return int(open_)
        begun = sum(trial.state is TrialState.WAITING and "retry_of" in trial.user_attrs for trial in trials)
        return int(min(open_, max(begun, 1 if self.spent().room(self.spec) else 0)))

    def finished(self) -> bool:
        """Whether every trial that the study is to have is settled, or its budget used up and none running."""
        if self.total is not None and self.settled() >= self.total:
            return True
        return not self.remaining() and not any(trial.state is TrialState.RUNNING for trial in self.trials())

    def only_fails(self) -> str | None:
        """The reason of the last of `FAILURES` trials that failed in a row, where no number of trials ends a study."""
        last = [trial for trial in self.trials() if trial.state.is_finished()][-FAILURES:]
        if self.total is not None or len(last) < FAILURES or any(t.state is not TrialState.FAIL for t in last):
            return None
        return str(last[-1].user_attrs.get("reason", "unknown"))

    def enqueue(self) -> None:
        """Queue the points that the study names, in order, but for those that were queued or tried. Hold the lock."""
        known = [{**t.system_attrs.get("fixed_params", {}), **t.params} for t in self.study.get_trials(deepcopy=False)]
        for given in self.spec.enqueue:
            point = space.encode(axes.point(self.spec.space, given), self.spec.space)
            if not any(point.items() <= other.items() for other in known):
                self.study.enqueue_trial(point)
                known.append(point)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one process at a time, on whatever machine, while it counts what remains and takes a trial.

        Given back when the process dies. A file beside a SQLite database, an advisory lock of PostgreSQL.
        """
        engine = self.storage.engine if isinstance(self.storage, optuna.storages.RDBStorage) else None
        if engine is not None and engine.dialect.name == "sqlite" and engine.url.database:
            with Path(f"{engine.url.database}.lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        elif engine is not None and engine.dialect.name == "postgresql":
            number = zlib.crc32(f"longlag {self.spec.name}".encode())
            with engine.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({number})")
                try:
                    yield
                finally:
                    connection.exec_driver_sql(f"SELECT pg_advisory_unlock({number})")
        else:
            yield

    def put_back(self, number: int | None) -> None:
        """Queue the point of a trial of this process again, unless it is settled."""
        for trial in self.trials():
            if trial.number == number and trial.state in (TrialState.FAIL, TrialState.RUNNING):
                self._lost(trial)

    def dead(self) -> list[int]:
        """The numbers of trials that a dead process of this machine left running. Hold the lock."""
        return [trial.number for trial in self._dead()]

    def _dead(self) -> list[FrozenTrial]:
        everything = self.study.get_trials(deepcopy=False)
        return [trial for trial in everything if trial.state is TrialState.RUNNING and _is_dead(trial)]

    def rescue(self) -> list[int]:
        """Fail what a dead process left running, and queue its points again; returns their numbers. Hold the lock."""
        with no_experimental_warnings():
            optuna.storages.fail_stale_trials(self.study)  # of other machines, by their heartbeat
        dead = self._dead()
        for trial in dead:
            deaths = trial.user_attrs.get("deaths", 0) + 1
            if deaths > DEATHS:
                reason = f"the process that trained it died {deaths} times; was there too little memory?"
                self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
                self._quiet().tell(trial.number, state=TrialState.FAIL)
            else:
                self._lost(trial, deaths=deaths)
        return [trial.number for trial in dead]

    def tidy(self) -> None:
        """`rescue`, and put back every failed trial that was not taken up again: a new sweep tries them once more."""
        self.rescue()
        for trial in self.trials():
            if trial.state is TrialState.FAIL:
                put_back(self.study, trial)

    def _lost(self, trial: FrozenTrial, **attributes: Any) -> None:
        """Queue a trial again, then fail it: in between it could die with this process, and must not be forgotten."""
        if trial.number not in {other.user_attrs.get("retry_of") for other in self.study.get_trials(deepcopy=False)}:
            put_back(self.study, trial, **attributes)
        if trial.state is TrialState.RUNNING:
            self._quiet().tell(trial.number, state=TrialState.FAIL)

    def _quiet(self) -> optuna.Study:
        """The study with a sampler that does not stop a loop that is not running."""
        return optuna.load_study(
            study_name=self.spec.name, storage=self.storage, sampler=optuna.samplers.RandomSampler()
        )


def current(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials without those that were taken up again as another one."""
    trials = list(trials)
    replaced = {trial.user_attrs.get("retry_of") for trial in trials}
    return [trial for trial in trials if trial.number not in replaced]


def put_back(study: optuna.Study, trial: FrozenTrial, **attributes: Any) -> None:
    """Queue the point of a failed trial again, as a new trial that names it."""
    point = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(point, user_attrs={"retry_of": trial.number, **attributes})


def holder() -> dict[str, Any]:
    """What identifies this process in a trial."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": psutil.Process().create_time()}


def _is_dead(trial: FrozenTrial) -> bool:
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


def connect(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage in a database."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    with no_experimental_warnings():
        return optuna.storages.RDBStorage(
            url,
            engine_kwargs=arguments,
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=put_back,
        )


def names(url: str) -> list[str]:
    """The studies in a storage."""
    return sorted(optuna.get_all_study_names(connect(url)))


def stored(name: str, url: str) -> tuple[StudySpec, optuna.Study]:
    """A study that was begun before, by name.

    Raises:
        UserError: when there is none, naming the nearest.
    """
    storage = connect(url)
    try:
        study = optuna.load_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler())
    except KeyError:
        known = optuna.get_all_study_names(storage)
        hint = suggestion(name, known) or ("" if known else "; none has been begun")
        raise UserError(f"there is no study named {name!r} here{hint} (`longlag list studies`)") from None
    if "spec" not in study.user_attrs:
        raise UserError(f"the study {name!r} was not made by longlag, or was interrupted while it was being made")
    return load_study(study.user_attrs["spec"], f"study {name!r}"), study


@contextmanager
def no_experimental_warnings() -> Iterator[None]:
    """Optuna warns that heartbeats and some samplers may change in a later release: pyproject.toml bounds it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", message="Clip non-finite values")  # of diverged runs, by the gp sampler
        yield


def _differs(spec: StudySpec, before: dict[str, Any]) -> str:
    now, default = spec.model_dump(mode="json"), {"objectives": ["score"]}
    fields = [
        name
        for name in ("base", "space", "seeds", "parameters", "objectives")
        if before.get(name, default.get(name)) != now[name]
    ]
    what = f"another {' and '.join(fields)}" if fields else "another version of its task or cell"
    return (
        f"there is already a study named {spec.name!r}, with {what}; choose another name (`--name`, or `name:` in the "
        "YAML file), or another home (`--home`), to keep the results apart"
    )
