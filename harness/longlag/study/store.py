"""A study in Optuna's storage: opening it, what is finished, and what a dead process left behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from longlag import optuna_private, processes, samplers
from longlag.errors import UserError, quoted, suggestion
from longlag.spec import StudySpec, points, stored_study
from longlag.study import space
from longlag.study.heartbeats import HeartbeatMonitor
from longlag.study.progress import Progress, replaced
from longlag.study.pruners import pruner
from longlag.study.storage import HEARTBEAT, Storage, connect, no_experimental_warnings

DEATHS = 3  # of processes in one trial, after which it is a failed one


@dataclass(frozen=True, eq=False)
class StudyStore:
    """A study in Optuna's storage.

    Args:
        spec: the study.
        study: Optuna's, with the sampler and pruner that the spec names.
        storage: where it is kept.
        exhaustive, adaptive: as the study's sampler is; kept with the study, which is read without its sampler.
    """

    spec: StudySpec
    study: optuna.Study
    storage: Storage
    exhaustive: bool
    adaptive: bool
    heartbeat_monitor: HeartbeatMonitor = field(default_factory=HeartbeatMonitor, init=False, repr=False)

    @classmethod
    def open(cls, spec: StudySpec, url: str, heartbeat: int | None = None) -> StudyStore:
        """Create the study, or take up the one of this name.

        Args:
            spec: the study.
            url: of its database.
            heartbeat: seconds between two signs of life of a trial, kept with the study for all its hosts.

        Raises:
            UserError: when the study of this name is another search, or has another heartbeat.
        """
        with no_experimental_warnings():  # whatever may be refused comes before anything is made
            identity, sampler, first, prune = spec.identity(), _traits(spec), samplers.build(spec, 0), pruner(spec)
        storage = connect(url)
        with no_experimental_warnings(), storage.closed_if_refused(), storage.lock(_lock_name(spec.name)):
            study = optuna.create_study(
                study_name=spec.name,
                storage=storage,
                directions=list(spec.directions),
                load_if_exists=True,
                sampler=optuna.samplers.RandomSampler(),
            )
            before = study.user_attrs.get("identity")
            if before is None:
                study.set_metric_names(list(spec.objectives))
                study.set_user_attr("identity", identity)
            elif before != identity:
                raise UserError(_differs(spec, study.user_attrs.get("spec", {})))
            study_store = cls(spec, study, storage, **sampler)
            beats = study_store.agree("heartbeat", HEARTBEAT if before is None and heartbeat is None else heartbeat)
            storage.beat(beats or HEARTBEAT)
            study.set_user_attr("spec", spec.model_dump(mode="json"))
            study.set_user_attr("sampler", sampler)
            study = optuna.load_study(study_name=spec.name, storage=storage, sampler=first, pruner=prune)
        return cls(spec, study, storage, **sampler)

    @classmethod
    def stored(cls, name: str, url: str) -> StudyStore:
        """A study that was begun before, by name; its tasks, cells, sampler and objectives need not be installed.

        Raises:
            UserError: when there is none, naming the nearest.
        """
        storage = connect(url)
        with storage.closed_if_refused():
            study = _study(name, storage)
            if study is None:
                known = optuna.get_all_study_names(storage)
                hint = suggestion(name, known) or ("" if known else "; none has been begun")
                raise UserError(f"there is no study named {quoted(name)} here{hint} (`longlag list studies`)")
            if "spec" not in study.user_attrs:
                raise UserError(f"the study {name!r} was not made by longlag, or was interrupted while it was made")
        storage.beat(study.user_attrs.get("heartbeat", HEARTBEAT))
        spec = stored_study(study.user_attrs["spec"], f"study {name!r}")
        return cls(spec, study, storage, **(study.user_attrs.get("sampler") or _traits(spec)))

    def agree(self, what: str, value: Any) -> Any:
        """Keep with the study what all its hosts have to have in common; None takes what was agreed upon.

        Raises:
            UserError: when it was another value.
        """
        agreed = self.study.user_attrs.get(what)
        if agreed is None:
            if value is not None:
                self.study.set_user_attr(what, value)
            return value
        if value is not None and value != agreed:
            raise UserError(
                f"the study {self.spec.name!r} was begun with {what} {agreed}, not {value}; all its hosts keep to that"
            )
        return agreed

    @cached_property
    def total(self) -> int | None:
        """How many trials the study is to have at most; None where only a budget ends it.

        Without `trials`, a space that has an end needs no more of them than it has points.
        """
        limit = self.spec.trials
        if limit is not None and not self.exhaustive:
            return limit
        count = points.size(self.spec.space)
        return count if limit is None or count is None else min(count, limit)

    def progress(self) -> Progress:
        """How far it is now."""
        return Progress(self.spec, self.total, self.exhaustive, self.study.get_trials(deepcopy=False))

    def trials(self) -> list[FrozenTrial]:
        """Every trial but those that were taken up again as another one."""
        return self.progress().trials

    def enqueue(self, start: int, trials: Sequence[FrozenTrial]) -> tuple[int, bool]:
        """Queue the first of the known points that was not queued or tried, unless a trial waits. Hold the lock.

        One at a time: each takes the database some 10 ms, and there may be thousands.

        Args:
            start: where to look first; all before were queued or tried.
            trials: of the study.

        Returns:
            Where to look next time, and whether one was queued.
        """
        given = self.spec.enqueue
        if start == len(given) or any(trial.state is TrialState.WAITING for trial in trials):
            return start, False
        known = [optuna_private.parameters(trial).items() for trial in trials]
        named = points.Named(self.spec.space)
        for place in range(start, len(given)):
            point = space.encode(named.point(given[place]), self.spec.space)
            if not any(point.items() <= other for other in known):
                self.study.enqueue_trial(point)
                return place + 1, True
        return len(given), False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by one process at a time, on whatever machine, while it counts what remains and takes a trial."""
        with self.storage.lock(_lock_name(self.spec.name)):
            yield

    def requeue(self, number: int | None) -> None:
        """Queue the point of a trial of this process again, unless it is finished."""
        for trial in self.trials():
            if trial.number == number and trial.state in (TrialState.FAIL, TrialState.RUNNING):
                self._lost(trial)

    def dead(self) -> list[int]:
        """The numbers of trials that a dead process left running: one that is gone, or one that cannot be seen from
        here or was stopped, and gives no sign of life. Hold the lock.
        """
        return [trial.number for trial in self._dead(self.study.get_trials(deepcopy=False))]

    def _dead(self, everything: Sequence[FrozenTrial], own: bool = False) -> list[FrozenTrial]:
        running = [trial for trial in everything if trial.state is TrialState.RUNNING]
        named = {trial.number: _process(trial) for trial in running}
        gone = {process: self._is_gone(process) for process in set(named.values())}
        ended = {number: gone[process] for number, process in named.items()}
        unseen = {number for number, value in ended.items() if value is None}
        silent = self.heartbeat_monitor.silent(self.storage, self.study, unseen)
        me = processes.this()
        mine = {trial.number for trial in running if trial.user_attrs.get("process") == me}
        return [t for t in running if (own if t.number in mine else ended[t.number] or t.number in silent)]

    def _is_gone(self, named: frozenset[tuple[str, str]] | None) -> bool | None:
        """Whether the process that runs a trial is gone; None when it cannot be seen from here.

        Its name is written while the lock is held: who holds the lock and finds no name finds a dead one.
        """
        if named is None:
            return True
        process = dict(named)
        if not self.storage.has_clock and processes.is_of_earlier_boot(process):
            return True  # machines that share a database of files are one machine
        return processes.is_gone(process)

    def taken_over(self, number: int | None) -> bool:
        """Whether somebody else took this trial for dead, and queued its point again."""
        return number is not None and number in replaced(self.study.get_trials(deepcopy=False))

    def recover_orphans(self, own: bool = False) -> list[int]:
        """Fail what a dead process left running, and queue its points again; returns their numbers. Hold the lock.

        Args:
            own: also trials of this process, when it runs none: a full disk kept it from queueing them again.
        """
        return self._recover(self.study.get_trials(deepcopy=False), own)

    def recovered(self) -> Progress:
        """How far it is, once what dead processes left running is queued again. Hold the lock."""
        progress = self.progress()
        return self.progress() if self._recover(progress.everything) else progress

    def _recover(self, everything: Sequence[FrozenTrial], own: bool = False) -> list[int]:
        dead = self._dead(everything, own)
        for trial in dead:
            deaths = trial.user_attrs.get("deaths", 0) + 1
            if deaths > DEATHS:
                reason = f"the process that trained it died {deaths} times; was there too little memory?"
                optuna_private.set_user_attributes(self.storage, optuna_private.trial_id(trial), {"reason": reason})
                self._quiet().tell(trial.number, state=TrialState.FAIL)
            else:
                self._lost(trial, deaths=deaths)
        return [trial.number for trial in dead]

    def clean_up(self) -> None:
        """Recover orphans and requeue the failed trials that were not requeued yet: a new sweep tries them again."""
        self.recover_orphans(own=True)
        for trial in self.trials():
            if trial.state is TrialState.FAIL:
                requeue(self.study, trial)

    def _lost(self, trial: FrozenTrial, **attributes: Any) -> None:
        """Queue a trial again, then fail it: in between it could die with this process, and must not be forgotten.

        One that had no value yet is failed alone: it took no point from anybody.
        """
        if optuna_private.parameters(trial) and trial.number not in replaced(self.study.get_trials(deepcopy=False)):
            requeue(self.study, trial, **attributes)
        if trial.state is TrialState.RUNNING:
            self._quiet().tell(trial.number, state=TrialState.FAIL)

    def _quiet(self) -> optuna.Study:
        """The study with a sampler that does not stop a loop that is not running."""
        study = _study(self.spec.name, self.storage)
        assert study is not None
        return study


def requeue(study: optuna.Study, trial: FrozenTrial, **attributes: Any) -> None:
    """Queue the point of a failed trial again, as a new trial that names it."""
    study.enqueue_trial(optuna_private.parameters(trial), user_attrs={"retry_of": trial.number, **attributes})


def names(url: str) -> list[str]:
    """The studies in a storage."""
    with closing(connect(url)) as storage:
        return sorted(optuna.get_all_study_names(storage))


def _study(name: str, storage: Storage) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler())
    except KeyError:
        return None


def _traits(spec: StudySpec) -> dict[str, bool]:
    """What reading a study needs of its sampler."""
    sampler = spec.sampler.definition
    return {"exhaustive": sampler.exhaustive, "adaptive": sampler.adaptive}


def _process(trial: FrozenTrial) -> frozenset[tuple[str, str]] | None:
    """What identifies the process that runs a trial; None before it is written."""
    process = trial.user_attrs.get("process")
    return None if process is None else frozenset(process.items())


def _lock_name(study: str) -> str:
    return f"longlag {study}"


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
