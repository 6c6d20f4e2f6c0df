"""One run, recorded: what finished before is found by its identity, everything else is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from longlag import registry
from longlag.crash import keep_traceback
from longlag.errors import UserError, one_line, quoted
from longlag.spec import RunSpec, require_for_run
from longlag.tracking.copy import adopt
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import Pruned, RunCallback, train
from longlag.training.checkpoint import claimed, forget
from longlag.workers import faults
from longlag.workers.requests import Execution, Failure, Interrupted, RunRequest, WorkerCallback, WorkerConfig

FINAL = ("solved", "budget", "diverged")
Report = Callable[[int, float, bool], str | None]
"""Takes update, score, and whether the evaluation was made before an interruption; returns why to prune, or None."""


def perform(
    request: RunRequest,
    config: WorkerConfig,
    store: Store,
    callbacks: Sequence[RunCallback],
    stop: Callable[[], bool],
    report: Report,
) -> Execution | Failure:
    """Execute a request in this process; an exception that concerns this run alone is a `Failure`.

    Raises:
        Interrupted: when `stop` was true; the run is saved.
        UserError: for what would stop every other run as well.
    """
    try:
        return execute(request, config, store, callbacks, stop, report)
    except UserError:
        raise
    except Exception as error:
        stops_all = faults.message(error, config.home)
        if stops_all is not None:
            raise UserError(stops_all) from error
        what = "out of memory: " if faults.is_out_of_memory(error) else ""
        culprit = registry.raised_by(error)
        what += f"{culprit} failed: " if culprit else ""
        file = keep_traceback(config.home / "logs", f"{config.name}-{request.spec.run_key[:12]}.txt")
        return Failure(f"{what}{one_line(error)} (traceback in {file})", error)


def execute(
    request: RunRequest,
    config: WorkerConfig,
    store: Store,
    callbacks: Sequence[RunCallback],
    stop: Callable[[], bool],
    report: Report,
) -> Execution:
    """Find the run by its identity, or train and record it.

    A run that was interrupted continues from its checkpoint. A run that another process trains is waited for.

    Raises:
        Interrupted: when `stop` was true; the run is saved.
    """
    spec, home = request.spec, Home(config.home)
    with claimed(home.checkpoints, spec.run_key, config.checkpoint_seconds) as checkpoints:
        found = None if request.force else find(request, config, store)
        if found is not None:
            return found
        recorder = store.callback(config.experiment, parent=config.parent, tags=dict(request.tags), name=request.name)
        for callback in callbacks:
            if isinstance(callback, WorkerCallback):
                callback.run_started(spec)
        try:
            result = train(
                spec,
                [recorder, *callbacks, Scores(report)],
                cache=home.datasets,
                interrupted=stop,
                checkpoints=checkpoints,
            )
        except BaseException as error:  # Ctrl-C too: a run that ended is never left RUNNING
            recorder.failed(error)
            raise
        if result.outcome == "interrupted":
            raise Interrupted(result.reason)
        forget(home.checkpoints, spec.run_key)
        return Execution(result, recorder.run_id, config.experiment, trained=True)


def find(request: RunRequest, config: WorkerConfig, store: Store) -> Execution | None:
    """The same run if it has finished before, made visible where this one would be recorded."""
    finished = store.find(request.spec.run_key)
    if finished is None or finished.result is None or finished.result.outcome not in FINAL:
        return None
    forget(Home(config.home).checkpoints, request.spec.run_key)
    run_id = adopt(store, finished, config.experiment, config.parent, dict(request.tags), request.name)
    return Execution(finished.result, run_id, config.experiment, trained=False)


class Scores(RunCallback):
    """Reports every validation score to the search, and ends the run when it is to be pruned."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.reported: list[tuple[int, float]] = []

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        value = score if math.isfinite(score) else math.inf
        self.reported.append((update, value))
        reason = self.report(update, value, False)
        if reason is not None:
            raise Pruned(reason)

    def saved(self) -> Mapping[str, Any]:
        return {"reported": self.reported}

    def restored(self, state: Mapping[str, Any]) -> None:
        for update, value in state["reported"]:  # the search may be another process than before
            self.reported.append((update, value))
            self.report(update, value, True)


def check(spec: RunSpec) -> None:
    """Refuse a run that this machine cannot do.

    Raises:
        UserError: when the device is not there, or a package that its task needs.
    """
    require_for_run(spec)
    device = spec.training.device
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"training.device: there is no {quoted(device)} on this machine; 'cpu' is always there"
        ) from error
