"""A study: trials until there are as many as asked for, whoever began them and whatever stopped them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress

from longlag.analysis import pictures
from longlag.analysis.best import best_run
from longlag.analysis.cache import ReportCache
from longlag.analysis.importance import importances
from longlag.analysis.result import StudyResult
from longlag.errors import UserError
from longlag.parts import Parts
from longlag.spec import StudySpec, require_for_study
from longlag.study import figures, queue, space
from longlag.study.callback import SlotCallbacks, StudyCallback
from longlag.study.describe import FILE, note, parameters, whole
from longlag.study.queue import Workers
from longlag.study.report import collect, summary
from longlag.study.run import RUNS
from longlag.study.search import StudySearch
from longlag.study.storage import lost_database, no_experimental_warnings, shared, where
from longlag.study.store import StudyStore
from longlag.tracking import models, study_run
from longlag.tracking.store import Store
from longlag.workers.faults import translate_errors
from longlag.workers.requests import WorkerConfig
from longlag.workers.runner import check
from longlag.workspace import Workspace


def sweep(
    spec: StudySpec,
    workspace: Workspace,
    workers: Workers | None = None,
    *,
    heartbeat_seconds: int | None = None,
    callbacks: Sequence[StudyCallback] = (),
) -> StudyResult:
    """Run a study, or what remains of it: the same call continues it.

    Args:
        spec: the study.
        workspace: where it is kept. With a shared storage several machines may work on it at once.
        workers: how many, and where; one in this process when not given. Numbers of a run never depend on them; which
            points an adaptive sampler proposes does.
        heartbeat_seconds: seconds between two signs of life of a trial in the storage, 60 if not given; after three
            missed ones another machine takes it over. Kept with the study.
        callbacks: receive the study's events.

    Returns:
        The study at its end; `StudyResult.failed` lists the trials in which something went wrong.

    Raises:
        UserError: for a spec, home or server that is wrong, and when another study has this name.
        KeyboardInterrupt: after Ctrl-C, once the runs are saved (at once when it is given twice); their trials are
            queued again, and nothing is left RUNNING.
    """
    workers = workers or Workers()
    if spec.name == RUNS:
        raise UserError(f"the name {RUNS!r} is taken by the single runs; choose another name for the study")
    space.check(spec.space, spec.sampler.definition.exhaustive)
    require_for_study(spec)
    check(spec.first())
    url = where(workspace)
    with translate_errors(workspace.home.root, lost_database(url)), no_experimental_warnings():
        store = workspace.store()
        study_store = StudyStore.open(spec, url, heartbeat_seconds)
        with closing(study_store.storage):
            study_store.agree("tracking", _kind(store, shared(url)))
            with study_store.lock():  # two that make the experiment at once would make two, or fail
                config = queue.config(
                    workspace, store, workers, spec.name, note(spec), spec.identity(), parameters(spec)
                )
                assert config.parent is not None
                study_run.write(store, config.parent, FILE, whole(spec))
            complete(study_store, config, store, workers, callbacks)
            return conclude(study_store, config, store)


def _kind(store: Store, shared: bool) -> str:
    """Where the runs are kept, as all drivers have to have it: in another store they would be missing.

    A home may be moved, and hosts may reach one server by different names.
    """
    if not store.local:
        return "a server"
    if shared:
        return store.uri
    return "the store of the home" if store.own else "another database"


def complete(
    study_store: StudyStore,
    config: WorkerConfig,
    store: Store,
    workers: Workers,
    callbacks: Sequence[StudyCallback],
) -> None:
    """Run trials until the study is finished."""
    with study_store.lock():
        study_store.clean_up()
        figures.recover(study_store, store, config)
    progress = study_store.progress()
    spent, done, total = progress.spent, progress.finished_count, progress.total
    for callback in callbacks:
        callback.study_started(study_store.spec, done, total)
        callback.budget(spent.updates, spent.hours)
    slots = SlotCallbacks(callbacks)
    search = StudySearch(study_store, slots)
    with closing(search.heartbeat):
        queue.execute(
            search,
            config,
            store,
            workers,
            slots,
            most=None if total is None else total - done,
            running=lambda: {study_store.spec.name: study_store.progress().running},
        )


def conclude(study_store: StudyStore, config: WorkerConfig, store: Store) -> StudyResult:
    """The result of a finished study: its own run is ended, its best run registered, its pictures are drawn."""
    assert config.parent is not None
    result = collect(study_store, store, config.experiment)
    own = config.parent
    study_run.end(store, own, "FAILED" if result.failed else "FINISHED", summary(result))
    parts = Parts()
    parts.make("the study's best model", lambda: _log_best(study_store, config, store, result))
    folder = store.home.reports / study_store.spec.name
    cache = ReportCache(folder)
    drawn = pictures.draw_all(result, store, folder, parts, cache)
    parts.make("the copy of the pictures in the tracking store", lambda: study_run.add_files(store, own, drawn))
    parts.make("the importances of the axes", lambda: importances(result, cache))  # the report has them from there
    return result.model_copy(update={"missing": tuple(parts.failed)})


def _log_best(study_store: StudyStore, config: WorkerConfig, store: Store, result: StudyResult) -> None:
    found = best_run(result)
    if found is not None:
        with suppress(UserError), study_store.lock():  # adopted from an older version, which kept no weights
            models.log_best(store, config.experiment, study_store.spec.name, found.run_id)
