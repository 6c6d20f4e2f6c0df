"""Running a horizon study: every cell's search as a conversation with a crew of workers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from longlag.horizons import psi
from longlag.horizons.record import CellRecord, Phase, Record, RunRecord, environment
from longlag.horizons.spec import CLIMBING_SEED, GRADIENT_SEEDS, GRADIENTS, TOGETHER, HorizonSpec, load_horizon
from longlag.study.faults import translate_errors
from longlag.study.result import StudyCallback
from longlag.study.size import parameters
from longlag.study.sweep import crew as how_many
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult
from longlag.training.checkpoint import SECONDS
from longlag.workers.crew import Asked, Bench, Crew
from longlag.workers.runner import Interrupted, check, open_home
from longlag.workers.stopping import graceful

Wanted = list[Asked]
Search = Generator[Wanted, list[RunResult], CellRecord]
"""Asks for runs, is sent their results in the same order, and returns what it found."""


def horizon(
    spec: HorizonSpec | Mapping[str, Any],
    *,
    home: Home | Path | str | None = None,
    tracking_uri: str | None = None,
    threads: int = 1,
    workers: int | Literal["auto"] = 1,
    checkpoint_seconds: float | None = SECONDS,
    callbacks: Sequence[StudyCallback] = (),
) -> tuple[Record, Store]:
    """Find the longest lag that each cell learns, or what remains to be found: asking again continues.

    Which runs are made depends on the results of the cell's earlier ones alone, never on how many workers there are or
    on which of them is first.

    Args:
        spec: a `HorizonSpec`, or its fields as a mapping.
        home: folder of the results; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store, instead of the home's own.
        threads: of torch, in each worker.
        workers: processes that train side by side; ``auto`` takes one a core.
        checkpoint_seconds: between two checkpoints of a run; None keeps none.
        callbacks: told how it goes on.

    Returns:
        The record, and the store that it stands in.

    Raises:
        UserError: for a spec, home or server that is wrong.
        KeyboardInterrupt: after Ctrl-C, once the runs in hand are saved.
    """
    spec = spec if isinstance(spec, HorizonSpec) else load_horizon(dict(spec))
    check(spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0))
    opened = open_home(home)
    with translate_errors(opened.root):
        store = Store.open(opened, tracking_uri)
        return recorded(spec, opened, store, threads, workers, checkpoint_seconds, callbacks), store


def recorded(
    spec: HorizonSpec,
    opened: Home,
    store: Store,
    threads: int,
    workers: int | Literal["auto"],
    checkpoint_seconds: float | None,
    callbacks: Sequence[StudyCallback],
) -> Record:
    """The study in the tracking store: its own run, and under it all that the searches ask for."""
    experiment = store.experiment(
        spec.name,
        f"Continue it with the same `longlag horizon` command.\n\n{spec.lag}: "
        f"{spec.shortest} to {spec.longest} steps, {spec.parameters:,} parameters.",
    )
    tags = {"longlag.study": spec.name, "longlag.study_identity": spec.identity()}
    varied = {"cells": ", ".join(spec.labelled), "lag": spec.lag, "runs": spec.runs, "parameters": spec.parameters}
    parent = store.parent(experiment, spec.name, tags, varied)
    bench = Bench(
        home=opened.root,
        tracking_uri=None if store.uri == opened.tracking_uri else store.uri,
        experiment=experiment,
        parent=parent,
        name=spec.name,
        threads=threads,
        checkpoint_seconds=checkpoint_seconds,
    )
    searches = {name: search(spec, name, cell) for name, cell in spec.labelled.items()}
    results: list[RunResult] = []
    cells: list[CellRecord] = []
    try:
        with graceful() as stop:
            try:
                with Crew(bench, how_many(workers, spec.runs * len(searches)), store, callbacks, stop) as crew:
                    cells = converse(list(searches.values()), crew, results)
            except Interrupted:
                if stop.signal is None:
                    raise
    except BaseException as error:
        with suppress(Exception):  # a store that is gone must not hide what went wrong
            store.mark_killed(experiment)
            store.end_parent(parent, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED", {})
        raise
    store.deliver()
    store.mark_killed(experiment)
    first = spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0)
    record = Record(
        spec=spec,
        identity=spec.identity(),
        criterion=first.task.build().criterion,
        task_version=first.task.version,
        method={
            "name": "psi-marginal",
            "lapse": psi.LAPSE,
            "margin": psi.MARGIN,
            "spreads": [psi.SPREADS[0], psi.SPREADS[-1]],
            "level": psi.LEVEL,
            "together": TOGETHER,
            "climbing_seed": CLIMBING_SEED,
        },
        environment=environment(results),
        cells=tuple(cells),
    )
    store.end_parent(parent, "FINISHED", numbers(record))
    return record


def converse(searches: Sequence[Search], crew: Crew, results: list[RunResult]) -> list[CellRecord]:
    """Hand what the searches want to the crew, and each search its results once all that it wanted are there."""
    wanted: dict[int, list[int]] = {}
    done: dict[int, RunResult] = {}
    ended: dict[int, CellRecord] = {}

    def go_on(index: int, sent: list[RunResult] | None) -> None:
        try:
            asked = next(searches[index]) if sent is None else searches[index].send(sent)
        except StopIteration as stop:
            ended[index] = stop.value
            return
        wanted[index] = [crew.submit(one) for one in asked]

    for index in range(len(searches)):
        go_on(index, None)
    while len(ended) < len(searches):
        ticket, execution = crew.next()
        done[ticket] = execution.result
        index = next(index for index, tickets in wanted.items() if ticket in tickets)
        if all(ticket in done for ticket in wanted[index]):
            got = [done.pop(ticket) for ticket in wanted.pop(index)]
            results += got
            go_on(index, got)
    return [ended[index] for index in range(len(searches))]


def search(spec: HorizonSpec, name: str, cell: Any) -> Search:
    """One cell: gradient flow before training, the learning rate, and then the lags that psi asks for."""
    size = spec.hidden_size(cell)
    model = {**spec.base.get("model", {}), "hidden_size": size}
    training = spec.base.get("training", {})
    probe = {**spec.base.get("probe", {}), **GRADIENTS}
    runs: list[RunRecord] = []

    def ask(phase: Phase, lag: int, rate: float, seed: int, **fields: Any) -> Asked:
        run = spec.run(cell, lag, rate, seed, model=model, **fields)
        tags = {"longlag.study": spec.name, "horizon.phase": phase, "horizon.cell": name, "horizon.lag": str(lag)}
        return Asked(spec=run, name=f"{name} T={lag} {phase} lr={rate:g} seed {seed}", tags=tags)

    def keep(phase: Phase, lags: Sequence[int], results: Sequence[RunResult]) -> list[RunRecord]:
        kept = [RunRecord.of(result, phase, lag) for result, lag in zip(results, lags, strict=True)]
        runs.extend(kept)
        return kept

    once = {"training": {**training, "updates": 1, "eval_every": 1}, "probe": probe}
    got = yield [ask("gradient", spec.longest, spec.rates[0], seed, **once) for seed in GRADIENT_SEEDS]
    keep("gradient", [spec.longest] * len(got), got)

    climbing = list(spec.rates)
    for lag in spec.ladder():
        got = yield [ask("rate", lag, rate, CLIMBING_SEED) for rate in climbing]
        climbing = [run.rate for run in keep("rate", [lag] * len(got), got) if run.solved]
        if not climbing:
            break
    rate = chosen([run for run in runs if run.phase == "rate"])

    method = psi.Psi(spec.shortest, spec.longest)
    trials: list[psi.Trial] = []
    while len(trials) < spec.runs:
        lags = method.propose(trials, TOGETHER)[: spec.runs - len(trials)]
        got = yield [ask("counted", lag, rate, len(trials) + place) for place, lag in enumerate(lags)]
        trials += [psi.Trial(run.lag, run.solved) for run in keep("counted", lags, got)]
    at_longest = spec.run(cell, spec.longest, rate, 0, model=model)
    return CellRecord(
        cell=name,
        version=at_longest.cell.version,
        hidden_size=size,
        parameters=parameters(at_longest),
        rate=rate,
        runs=tuple(runs),
    )


def chosen(runs: Sequence[RunRecord]) -> float:
    """The learning rate that climbs highest.

    With one seed a rate, the lag is doubled as long as the task is solved. Of two that come to the same lag, the one
    whose validation score there is lower; where both come to the longest, the one that took fewer updates in all; of
    two that are still alike, the smaller.
    """

    def rank(rate: float) -> tuple[float, ...]:
        own = [run for run in runs if run.rate == rate]
        failed = [run.score for run in own if not run.solved]
        return -sum(run.solved for run in own), failed[0] if failed else 0.0, sum(run.updates for run in own), rate

    return min({run.rate for run in runs}, key=rank)


def numbers(record: Record) -> dict[str, float]:
    """What stands on the study's own run in the tracking store."""
    found: dict[str, float] = {}
    for cell, fit in record.by_horizon():
        values = {"horizon": fit.median, "horizon_low": fit.low, "horizon_high": fit.high}
        values["horizon_above_longest"] = fit.above
        reach = cell.gradient_horizon()
        values["gradient_horizon"] = None if reach is None else reach[0]
        values["cpu_seconds"] = cell.seconds()
        found |= {f"{name}/{cell.cell}": value for name, value in values.items() if value is not None}
    return found
