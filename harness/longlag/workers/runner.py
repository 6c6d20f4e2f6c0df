"""One run, recorded: what finished before is found by its identity, everything else is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from longlag.errors import UserError
from longlag.spec import RunSpec, load_run, require_for_run
from longlag.study.faults import translate_errors
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunCallback, RunResult, train
from longlag.training.checkpoint import SECONDS, claimed, forget
from longlag.training.environment import torch_threads

FINAL = ("solved", "budget", "diverged")
RUNS = "runs"
NOTE = "Single runs, made by `longlag run`. Every study has an experiment of its own."


class Interrupted(KeyboardInterrupt):
    """A run was stopped by hand, and saved."""


@dataclass(frozen=True)
class Place:
    """Where a run is recorded.

    Args:
        experiment: id of the tracking experiment.
        parent: run that it belongs to, such as the study's.
        tags: what it is found by later.
        name: as it stands in the tracking UI; None makes one.
    """

    experiment: str
    parent: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True)
class Execution:
    """A result and where it stands.

    Args:
        result: of the run.
        run_id: in the tracking store.
        experiment: its experiment there.
        trained: false when the run had finished before and was only found.
    """

    result: RunResult
    run_id: str
    experiment: str
    trained: bool


def run(
    spec: RunSpec | Mapping[str, Any],
    *,
    home: Home | Path | str | None = None,
    tracking_uri: str | None = None,
    force: bool = False,
    threads: int = 1,
    callbacks: Sequence[RunCallback] = (),
) -> RunResult:
    """Train one run, or return the result of the same run if it has finished before.

    Args:
        spec: a `RunSpec`, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        force: train even if the same run has finished before.
        threads: of torch; a run's numbers may depend on it in their last bits.
        callbacks: told how the run goes on.

    Raises:
        UserError: for a spec, home or server that is wrong.

    Examples:
        >>> result = longlag.run({"task": "adding", "cell": "lstm"})  # doctest: +SKIP
        >>> result.outcome, result.score  # doctest: +SKIP
    """
    spec = spec if isinstance(spec, RunSpec) else load_run(dict(spec))
    check(spec)
    opened = open_home(home)
    with translate_errors(opened.root), torch_threads(threads):
        store = Store.open(opened, tracking_uri)
        place = Place(store.experiment(RUNS, NOTE))
        return execute(spec, store, opened, place, force=force, callbacks=callbacks).result


def execute(
    spec: RunSpec,
    store: Store,
    home: Home,
    place: Place,
    *,
    force: bool = False,
    callbacks: Sequence[RunCallback] = (),
    started: Callable[[RunSpec], None] = lambda spec: None,
    interrupted: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float | None = SECONDS,
) -> Execution:
    """Find the run by its identity, or train it and record it at `place`.

    `started` is told just before training begins, and not at all for a run that was found. A run that was cut short
    goes on from its checkpoint; one that another process trains just now is waited for.

    Raises:
        Interrupted: when `interrupted` ended the run; it was saved.
    """
    with claimed(home.checkpoints, spec.run_key, checkpoint_seconds) as checkpoints:
        recorded = None if force else store.find(spec.run_key)
        if recorded is not None and recorded.result is not None and recorded.result.outcome in FINAL:
            forget(home.checkpoints, spec.run_key)
            run_id = store.adopt(recorded, place.experiment, place.parent, dict(place.tags), place.name)
            return Execution(recorded.result, run_id, place.experiment, trained=False)
        recorder = store.callback(place.experiment, parent=place.parent, tags=dict(place.tags), name=place.name)
        started(spec)
        try:
            result = train(
                spec,
                [recorder, *callbacks],
                cache=home.datasets,
                interrupted=interrupted,
                checkpoints=checkpoints,
            )
        except BaseException as error:  # Ctrl-C too: a run that ended is never left RUNNING
            recorder.failed(error)
            raise
        if result.outcome == "interrupted":
            raise Interrupted(result.reason)
        forget(home.checkpoints, spec.run_key)
        return Execution(result, str(recorder.run_id), place.experiment, trained=True)


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
        raise UserError(f"training.device: there is no {device!r} on this machine; 'cpu' is always there") from error


def open_home(home: Home | Path | str | None) -> Home:
    return home if isinstance(home, Home) else Home.open(None if home is None else Path(home))
