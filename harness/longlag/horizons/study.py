"""Running a horizon study: the search of every cell is a generator, and all are served at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longlag import escape
from longlag.horizons import psi
from longlag.horizons.measurements import CellMeasurements, HorizonMeasurements, HorizonRun, Phase, environment
from longlag.horizons.spec import CLIMBING_SEED, GRADIENT_SEEDS, GRADIENTS, TOGETHER, HorizonSpec
from longlag.study import queue
from longlag.study.callback import SlotCallbacks, StudyCallback
from longlag.study.generators import Asking, GeneratorSearch
from longlag.study.queue import Workers
from longlag.study.size import parameters
from longlag.tracking import study_run
from longlag.tracking.store import Store
from longlag.workers.faults import translate_errors
from longlag.workers.requests import Execution, RunRequest
from longlag.workers.runner import check
from longlag.workspace import Workspace


def horizon(
    spec: HorizonSpec,
    workspace: Workspace,
    workers: Workers | None = None,
    *,
    callbacks: Sequence[StudyCallback] = (),
) -> tuple[HorizonMeasurements, Store]:
    """Find the longest lag that each cell learns, or what remains to be found: the same call continues.

    Which runs are made depends on the results of the cell's earlier ones alone, never on how many workers there are or
    on which of them is first.

    Args:
        spec: the study.
        workspace: where it is kept.
        workers: how many, and where; one in this process when not given.
        callbacks: receive the events of the runs.

    Returns:
        The measurements, and the store that they are kept in.

    Raises:
        UserError: for a spec, home or server that is wrong.
        KeyboardInterrupt: after Ctrl-C, once the runs are saved.
    """
    workers = workers or Workers()
    check(spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0))
    with translate_errors(workspace.home.root):
        store = workspace.store()
        note = (
            f"Continue it with the same `longlag horizon` command.\n\n{escape.code(spec.lag)}: "
            f"{spec.shortest} to {spec.longest} steps, {spec.parameters:,} parameters."
        )
        varied = {"cells": ", ".join(spec.labelled), "lag": spec.lag, "runs": spec.runs, "parameters": spec.parameters}
        config = queue.config(workspace, store, workers, spec.name, note, spec.identity(), varied)
        asking = GeneratorSearch([search(spec, name, cell) for name, cell in spec.labelled.items()])
        most = spec.runs * len(spec.labelled)
        queue.execute(asking, config, store, workers, SlotCallbacks(callbacks), most)
        found = collect(spec, asking.values)
        assert config.parent is not None
        study_run.end(store, config.parent, "FINISHED", metrics(found))
    return found, store


def collect(spec: HorizonSpec, found: Sequence[tuple[CellMeasurements, list[Execution]]]) -> HorizonMeasurements:
    """What was found, with the method and the environments of the runs."""
    first = spec.run(spec.cells[0], spec.shortest, spec.rates[0], 0)
    return HorizonMeasurements(
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
        environment=environment([each.result for _, executions in found for each in executions]),
        cells=tuple(cell for cell, _ in found),
    )


def search(spec: HorizonSpec, name: str, cell: Any) -> Asking[tuple[CellMeasurements, list[Execution]]]:
    """One cell: gradient flow before training, the learning rate, and then the lags that psi asks for.

    Returns its measurements, and all executions that they are made from.
    """
    size = spec.hidden_size(cell)
    model = {**spec.base.get("model", {}), "hidden_size": size}
    training = spec.base.get("training", {})
    probe = {**spec.base.get("probe", {}), **GRADIENTS}
    runs: list[HorizonRun] = []
    executions: list[Execution] = []

    def ask(phase: Phase, lag: int, rate: float, seed: int, **fields: Any) -> RunRequest:
        run = spec.run(cell, lag, rate, seed, model=model, **fields)
        tags = {"longlag.study": spec.name, "horizon.phase": phase, "horizon.cell": name, "horizon.lag": str(lag)}
        return RunRequest(spec=run, name=f"{name} T={lag} {phase} lr={rate:g} seed {seed}", tags=tags)

    def keep(phase: Phase, lags: Sequence[int], got: Sequence[Execution]) -> list[HorizonRun]:
        made = [HorizonRun.of(execution.result, phase, lag) for execution, lag in zip(got, lags, strict=True)]
        runs.extend(made)
        executions.extend(got)
        return made

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
    own = CellMeasurements(
        cell=name,
        version=at_longest.cell.version,
        hidden_size=size,
        parameters=parameters(at_longest),
        rate=rate,
        runs=tuple(runs),
    )
    return own, executions


def chosen(runs: Sequence[HorizonRun]) -> float:
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


def metrics(measurements: HorizonMeasurements) -> dict[str, float]:
    """The metrics of the study's own run in the tracking store."""
    found: dict[str, float] = {}
    for cell, fit in measurements.by_horizon():
        values = {"horizon": fit.median, "horizon_low": fit.low, "horizon_high": fit.high}
        values["horizon_above_longest"] = fit.above
        reach = cell.gradient_horizon()
        values["gradient_horizon"] = None if reach is None else reach[0]
        values["cpu_seconds"] = cell.seconds()
        found |= {f"{name}/{cell.cell}": value for name, value in values.items() if value is not None}
    return found
