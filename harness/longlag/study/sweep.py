"""A study: trials until there are as many as asked for, whoever began them and whatever stopped them."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal

import psutil

from longlag.analysis import pictures
from longlag.analysis.best import best_run
from longlag.errors import UserError
from longlag.spec import StudySpec, load_study, require_for_study
from longlag.study import space
from longlag.study.faults import translate_errors
from longlag.study.report import collect, note, parameters, summary
from longlag.study.result import StudyCallback, StudyResult
from longlag.study.storage import no_experimental_warnings, shared, where
from longlag.study.store import StudyStore
from longlag.study.worker import Job, Worker
from longlag.tracking import models
from longlag.tracking.home import Home
from longlag.tracking.spool import Spool
from longlag.tracking.store import Store
from longlag.training.checkpoint import SECONDS
from longlag.training.environment import torch_threads
from longlag.workers.cluster import Cluster, Dask
from longlag.workers.pool import Pool
from longlag.workers.runner import RUNS, Interrupted, check, open_home
from longlag.workers.stopping import graceful

MEMORY = 1e9
"""Bytes that a worker is thought to need; torch, MLflow and Optuna alone take 0.5e9."""


def sweep(
    spec: StudySpec | Mapping[str, Any],
    *,
    home: Home | Path | str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Dask | None = None,
    checkpoint_seconds: float | None = SECONDS,
    heartbeat_seconds: int | None = None,
    callbacks: Sequence[StudyCallback] = (),
) -> StudyResult:
    """Run a study, or what remains of it: asking again for the same study continues it.

    Args:
        spec: a `StudySpec`, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        storage: ``postgresql://user@host/database``, where several machines keep the study, instead of the home's own.
        threads: of torch, in each worker; a run's numbers may depend on it in their last bits.
        workers: processes that run trials side by side; with 1 it is this one, ``auto`` takes one a core. A run's
            numbers never depend on it; which points an adaptive sampler proposes does.
        executor: a Dask cluster to place them on, not this machine; ``auto`` is then one a thread of its workers.
        checkpoint_seconds: between two checkpoints of a run; None keeps none.
        heartbeat_seconds: between two signs of life of a trial in the storage, 60 if not given; after three missed
            ones another machine takes it over. Kept with the study.
        callbacks: told how the sweep goes on.

    Returns:
        The study as it stands at the end; `StudyResult.failed` lists the trials in which something went wrong.

    Raises:
        UserError: for a spec, home or server that is wrong, and when another study has this name.
        KeyboardInterrupt: after Ctrl-C, once the runs in hand are saved (at once when it is given twice); their trials
            are put back, and nothing is left RUNNING.

    Examples:
        >>> study = {"name": "lags", "base": {"task": "adding"}, "space": {"cell": ["rnn", "lstm"]},
        ...          "sampler": {"name": "grid"}}
        >>> longlag.sweep(study).best  # doctest: +SKIP
    """
    spec = spec if isinstance(spec, StudySpec) else load_study(dict(spec))
    if spec.name == RUNS:
        raise UserError(f"the name {RUNS!r} is taken by the single runs; choose another name for the study")
    space.check(spec.space, spec.sampler.definition.exhaustive)
    require_for_study(spec)
    check(spec.first())
    opened = open_home(home)
    url = where(opened, storage)
    with translate_errors(opened.root, url), no_experimental_warnings(), ExitStack() as stack:
        store = Store.open(opened, tracking_uri)
        study_store = StudyStore.open(spec, url, heartbeat_seconds)
        stack.callback(study_store.storage.close)
        if shared(url):
            study_store.agree("tracking", store.uri if store.local else "a server")
        with study_store.lock():  # two that make the experiment at once would make two, or fail
            experiment = store.experiment(spec.name, note(spec))
            tags = {"longlag.study": spec.name, "longlag.study_identity": spec.identity()}
            parent = store.parent(experiment, spec.name, tags, parameters(spec))
        job = Job(
            spec=spec,
            home=opened.root,
            optuna_url=url,
            tracking_uri=tracking_uri,
            host=socket.gethostname(),
            experiment=experiment,
            parent=parent,
            threads=threads,
            checkpoint_seconds=checkpoint_seconds,
        )
        return _sweep(job, workers, executor, study_store, store, callbacks)


def _sweep(
    job: Job,
    workers: int | Literal["auto"],
    executor: Dask | None,
    study_store: StudyStore,
    store: Store,
    callbacks: Sequence[StudyCallback],
) -> StudyResult:
    with study_store.lock():
        study_store.clean_up()
        study_store.enqueue()
    spent = study_store.spent()
    for callback in callbacks:
        callback.study_started(job.spec, study_store.finished_count(), study_store.total)
        callback.budget(spent.updates, spent.hours)
    count = crew(workers, None if study_store.total is None else study_store.total - study_store.finished_count())
    try:
        with graceful() as stop:
            try:
                if executor is not None and not study_store.finished():
                    Cluster(job, None if workers == "auto" else count, study_store, callbacks, stop, executor).go()
                elif count > 1:
                    Pool(job, count, study_store, callbacks, stop).go()
                else:
                    with torch_threads(job.threads):
                        Worker(job, study_store, store, callbacks, stop).go()
            except Interrupted:
                if stop.signal is None:
                    raise
    except BaseException as error:
        with suppress(Exception):  # a store that is gone must not hide what went wrong
            store.mark_killed(job.experiment, lambda: {job.spec.name: study_store.running()})
            store.end_parent(job.parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
        raise
    try:
        store.deliver()
        store.mark_killed(job.experiment, lambda: {job.spec.name: study_store.running()})
    except Exception as error:
        kept = len(Spool(Home(job.home).spool).pending_uploads())
        if store.local or not kept:
            raise
        raise UserError(
            f"all trials are done, but the tracking server {store.uri} went away: {kept} runs are kept in "
            f"{Home(job.home).spool}, and the same command delivers them when it is there again"
        ) from error
    result = collect(study_store, store, job.experiment)
    found = best_run(result)
    if found is not None:
        with suppress(UserError), study_store.lock():  # adopted from an older version, which kept no weights
            models.log_best(store, job.experiment, job.spec.name, found.run_id)
    drawn = pictures.draw_all(result, store, Home(job.home).reports / job.spec.name)
    store.end_parent(job.parent, "FAILED" if result.failed else "FINISHED", summary(result), drawn)
    return result


def crew(workers: int | Literal["auto"], trials: int | None) -> int:
    """How many workers: as many as asked for, or one a core that memory is there for; never more than trials.

    Raises:
        UserError: for less than one.
    """
    if workers == "auto":
        cores = len(os.sched_getaffinity(0))
        count = max(1, min(cores, int(psutil.virtual_memory().available // MEMORY)))
    elif workers < 1:
        raise UserError(f"workers: at least 1, or 'auto', not {workers}")
    else:
        count = workers
    return count if trials is None else max(1, min(count, trials))
