"""The functions of the public face: each takes plain settings, and fields in place of a spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from longlag.analysis.result import StudyResult
from longlag.spec import RunSpec, StudySpec, load_run, load_study, require_for_run, require_for_study
from longlag.study.callback import StudyCallback
from longlag.study.queue import Workers
from longlag.study.report import report as _report
from longlag.study.run import run as _run
from longlag.study.sweep import sweep as _sweep
from longlag.training import RunCallback, RunResult
from longlag.training.checkpoint import SECONDS
from longlag.workers.launchers import Executor
from longlag.workers.launchers.local import Local
from longlag.workspace import Workspace

if TYPE_CHECKING:
    from longlag.horizons.measurements import HorizonMeasurements
    from longlag.horizons.spec import HorizonSpec
    from longlag.papers.claims import ScaleName
    from longlag.papers.report import Report


def run(
    spec: RunSpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    force: bool = False,
    threads: int = 1,
    checkpoint_seconds: float | None = SECONDS,
    callbacks: Sequence[RunCallback] = (),
) -> RunResult:
    """Train one run, or return the result of the same run if it has finished before.

    Args:
        spec: the run, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        force: train even if the same run has finished before.
        threads: threads of torch; a run's numbers may depend on it in their last bits.
        checkpoint_seconds: seconds between two checkpoints; None writes none.
        callbacks: receive the run's events.

    Raises:
        UserError: for a spec, home or server that is wrong.

    Examples:
        >>> import longlag
        >>> fields = {"task": {"name": "adding", "length": 50}, "cell": "lstm", "clip": {"norm": 1}}
        >>> result = longlag.run(fields, home="/tmp/longlag-home")  # doctest: +SKIP
        >>> result.outcome, result.solved_at, result.gradient["final_horizon"]  # doctest: +SKIP
    """
    checked = spec if isinstance(spec, RunSpec) else load_run(dict(spec))
    require_for_run(checked)
    done = _run(
        checked,
        Workspace.open(home, tracking_uri),
        force=force,
        threads=threads,
        checkpoint_seconds=checkpoint_seconds,
        callbacks=callbacks,
    )
    return done.result


def sweep(
    spec: StudySpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Executor | None = None,
    checkpoint_seconds: float | None = SECONDS,
    heartbeat_seconds: int | None = None,
    callbacks: Sequence[StudyCallback] = (),
) -> StudyResult:
    """Run a study, or what remains of it: the same call continues it.

    Args:
        spec: the study, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        storage: ``postgresql://user@host/database``, where several machines keep the study, instead of the home's own.
        threads: threads of torch in each worker; a run's numbers may depend on it in their last bits.
        workers: workers side by side; a single one is this process, ``auto`` takes one a core. A run's numbers never
            depend on it; which points an adaptive sampler proposes does.
        executor: where workers run, such as ``longlag.Dask(scheduler)``; this machine when not given.
        checkpoint_seconds: seconds between two checkpoints of a run; None writes none.
        heartbeat_seconds: seconds between two signs of life of a trial in the storage, 60 if not given; after three
            missed ones another machine takes it over. Kept with the study.
        callbacks: receive the study's events.

    Returns:
        The study at its end; `StudyResult.failed` lists the trials in which something went wrong.

    Raises:
        UserError: for a spec, home or server that is wrong, and when another study has this name.
        KeyboardInterrupt: after Ctrl-C, once the runs are saved (at once when it is given twice); their trials are
            queued again, and nothing is left RUNNING.

    Examples:
        >>> import longlag
        >>> study = {
        ...     "name": "lags",
        ...     "base": {"task": "adding"},
        ...     "space": {"cell": ["rnn", "lstm", "gru"]},
        ...     "sampler": {"name": "grid"},
        ... }
        >>> for trial in longlag.sweep(study).trials:  # doctest: +SKIP
        ...     print(trial.point["cell"], trial.objective)
    """
    checked = spec if isinstance(spec, StudySpec) else load_study(dict(spec))
    require_for_study(checked)
    return _sweep(
        checked,
        Workspace.open(home, tracking_uri, storage),
        Workers(workers, threads, checkpoint_seconds, executor or Local()),
        heartbeat_seconds=heartbeat_seconds,
        callbacks=callbacks,
    )


def horizon(
    spec: HorizonSpec | Mapping[str, Any],
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Executor | None = None,
    checkpoint_seconds: float | None = SECONDS,
    callbacks: Sequence[StudyCallback] = (),
) -> HorizonMeasurements:
    """Find the longest lag that each cell learns, or what remains to be found: the same call continues.

    Args:
        spec: the study, or its fields as a mapping: at least ``cells`` and a ``base`` with a task.
        home: as of `sweep`.
        tracking_uri: as of `sweep`.
        threads: as of `sweep`.
        workers: as of `sweep`; what is found never depends on it.
        executor: as of `sweep`.
        checkpoint_seconds: as of `sweep`.
        callbacks: receive the events of the runs.

    Raises:
        UserError: for a spec, home or server that is wrong.
        KeyboardInterrupt: after Ctrl-C, once the runs are saved.

    Examples:
        >>> import longlag
        >>> study = {"base": {"task": "adding"}, "cells": ["lstm", "gru"], "longest": 200}
        >>> for cell, fit in longlag.horizon(study).by_horizon():  # doctest: +SKIP
        ...     print(cell.cell, fit.median)
    """
    from longlag.horizons import study
    from longlag.horizons.spec import HorizonSpec, load_horizon

    checked = spec if isinstance(spec, HorizonSpec) else load_horizon(dict(spec))
    how = Workers(workers, threads, checkpoint_seconds, executor or Local())
    measurements, _ = study.horizon(checked, Workspace.open(home, tracking_uri), how, callbacks=callbacks)
    return measurements


def reproduce(
    paper: str,
    scale: ScaleName = "cpu",
    *,
    home: Path | str | None = None,
    tracking_uri: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    executor: Executor | None = None,
    checkpoint_seconds: float | None = SECONDS,
    callback: StudyCallback | None = None,
) -> Report:
    """Run a paper's comparison, or what remains of it, and judge each of its claims.

    Args:
        paper: name of a paper study, or a YAML file of one.
        scale: ``paper``, ``cpu`` or ``smoke``.
        home: as of `sweep`.
        tracking_uri: as of `sweep`.
        threads: as of `sweep`.
        workers: as of `sweep`.
        executor: as of `sweep`.
        checkpoint_seconds: as of `sweep`.
        callback: receives the events of its sweeps.

    Returns:
        The report; its pages are in the home's folder ``reports``.

    Raises:
        UserError: for a paper, scale, home or server that is wrong, and when runs failed: nothing is judged then.
        KeyboardInterrupt: after Ctrl-C, once the runs are saved.
    """
    from longlag.papers.reproduce import run
    from longlag.papers.spec import load_paper

    loaded = load_paper(paper)
    loaded.scale(scale)
    how = Workers(workers, threads, checkpoint_seconds, executor or Local())
    content, _, _ = run(loaded, scale, Workspace.open(home, tracking_uri), how, callback or StudyCallback())
    return content


def report(
    name: str, *, home: Path | str | None = None, tracking_uri: str | None = None, storage: str | None = None
) -> StudyResult:
    """A study that was begun before, as it is now.

    Args:
        name: of the study.
        home: as of `sweep`.
        tracking_uri: as of `sweep`.
        storage: as of `sweep`.

    Raises:
        UserError: when there is none of this name.
    """
    return _report(name, Workspace.open(home, tracking_uri, storage))
