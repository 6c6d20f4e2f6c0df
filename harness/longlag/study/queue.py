"""The queue that the runs of every search go through, with the study's own run in the tracking store above them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longlag.errors import UserError
from longlag.log import log
from longlag.study.callback import SlotCallbacks
from longlag.tracking import study_run
from longlag.tracking.spool import Spool
from longlag.tracking.store import Store, Trials
from longlag.training.checkpoint import SECONDS
from longlag.workers.launchers import Executor
from longlag.workers.launchers.local import Local
from longlag.workers.requests import Interrupted, Search, WorkerConfig
from longlag.workers.stopping import graceful
from longlag.workers.supervisor import Supervisor
from longlag.workspace import Workspace


@dataclass(frozen=True)
class Workers:
    """How runs are executed. None of it changes a run's numbers but `threads`, in their last bits.

    Args:
        count: workers side by side; a single one on this machine is this process, ``auto`` takes one a core, or one a
            thread of a cluster.
        threads: threads of torch in each worker.
        checkpoint_seconds: seconds between two checkpoints of a run; None writes none.
        executor: where workers run.
    """

    count: int | Literal["auto"] = 1
    threads: int = 1
    checkpoint_seconds: float | None = SECONDS
    executor: Executor = field(default_factory=Local)

    def __post_init__(self) -> None:
        if self.count != "auto" and self.count < 1:
            raise UserError(f"workers: at least 1, or 'auto', not {self.count}")


def config(
    workspace: Workspace,
    store: Store,
    workers: Workers,
    name: str,
    note: str,
    identity: str,
    parameters: Mapping[str, Any],
) -> WorkerConfig:
    """What the workers of a study are given; its experiment and its own run are made where there are none.

    Args:
        workspace: where the study is kept.
        store: its tracking store.
        workers: how runs are executed.
        name: of the study.
        note: shown above it in the tracking UI, as Markdown.
        identity: the study's own run is found by it.
        parameters: what the study varies.
    """
    experiment = store.experiment(name, note)
    tags = {"longlag.study": name, "longlag.study_identity": identity}
    return WorkerConfig(
        home=workspace.home.root,
        tracking_uri=workspace.tracking_uri,
        experiment=experiment,
        parent=study_run.begin(store, experiment, name, tags, parameters),
        name=name,
        threads=workers.threads,
        checkpoint_seconds=workers.checkpoint_seconds,
    )


def execute(
    search: Search,
    config: WorkerConfig,
    store: Store,
    workers: Workers,
    callbacks: SlotCallbacks,
    most: int | None = None,
    running: Trials = dict,
) -> None:
    """Execute what a study's search asks for, until it is finished.

    Args:
        search: asks for runs.
        config: what workers are given.
        store: the tracking store.
        workers: how many, and where.
        callbacks: receive the events of each worker slot.
        most: runs that may be open at once.
        running: the numbers of the study's running trials.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the runs are saved, or at once when it is given twice.
        UserError: for a mistake that a worker found, and when a server went away.
    """
    assert config.parent is not None
    try:
        with graceful() as stop:
            launcher = workers.executor.launcher(workers.count, most)
            try:
                if not search.finished():  # else a cluster need not be there
                    Supervisor(search, launcher, config, store, callbacks, stop).run()
            except Interrupted:
                if stop.signal is None:
                    raise
    except BaseException as error:
        try:
            store.mark_killed(config.experiment, running)
            study_run.end(store, config.parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
        except Exception as lost:  # a store that is gone must not hide what went wrong
            log.info("the runs that were stopped are not marked as such: %s", lost, exc_info=True)
        raise
    try:
        store.deliver(wait=True)
        store.mark_killed(config.experiment, running)
    except Exception as error:
        pending = len(Spool(store.home.spool).pending_uploads())
        if not store.remote or not pending:
            raise
        raise UserError(
            f"all runs are done, but the tracking server {store.uri} went away: {pending} runs are kept in "
            f"{store.home.spool}, and the same command delivers them when it is there again"
        ) from error
