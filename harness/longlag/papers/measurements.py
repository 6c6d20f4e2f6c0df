"""What a paper study measured, in one small file, from which its page is made again in seconds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from longlag import files
from longlag.analysis.result import StudyResult
from longlag.errors import UserError, explain
from longlag.papers.claims import ScaleName
from longlag.papers.plan import Chosen, Entry
from longlag.papers.quantity import parse
from longlag.papers.relations import Sample
from longlag.papers.run_values import Curve, value_of
from longlag.papers.spec import NAME, PaperSpec
from longlag.probes.flow import by_layer
from longlag.tracking.store import Store
from longlag.training import RunResult, is_solved

POINTS = 60
"""Of a learning or gradient curve, at most."""
FORMAT = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class PaperRun(_Frozen):
    """One run.

    Attributes:
        arm, seed, run_key: which.
        drawn: values that a search or draw gave, by dotted path.
        outcome: why it stopped.
        updates, budget: made, and allowed.
        values: quantities by name; infinity for a number of updates beyond the budget, and the worst if it diverged.
        gradient: gradient-flow scalars.
        parameters, seconds: trainable numbers, wall time.
        curve: update and validation score, thinned.
    """

    arm: str
    seed: int
    run_key: str
    drawn: dict[str, Any] = {}
    outcome: str
    updates: int
    budget: int
    solved_at: int | None
    values: dict[str, float]
    gradient: dict[str, float]
    parameters: int
    seconds: float
    curve: list[tuple[int, float]]

    @property
    def solved(self) -> bool:
        """Whether the run solved its task, as `RunResult.solved` says."""
        return is_solved(self.outcome, self.solved_at)


class PaperMeasurements(_Frozen):
    """A paper study at one scale, as it was run.

    Attributes:
        paper, scale: which study.
        spec_hash: of the study's file, see `spec_hash`.
        date: when it was measured, UTC.
        seconds: wall time of all runs together.
        environment: versions, machine, threads.
        chosen: by arm, what its search took.
        search_runs: how many runs the searches made.
        flow: by arm, before and after training, lag and gradient norm over that at lag 0, geometric mean over seeds.
        runs: all of them.
    """

    format: int = FORMAT
    paper: str = Field(pattern=NAME)
    scale: ScaleName
    spec_hash: str
    date: str
    seconds: float
    environment: dict[str, str]
    chosen: dict[str, dict[str, Any]] = {}
    search_runs: int = 0
    flow: dict[str, dict[str, list[tuple[int, float]]]] = {}
    runs: list[PaperRun]

    def of(self, arm: str) -> list[PaperRun]:
        return [run for run in self.runs if run.arm == arm]

    def samples(self, paper: PaperSpec) -> dict[tuple[str, str], Sample]:
        """The values that the claims judged at this scale use.

        Raises:
            UserError: when the file lacks one, because the study's claims have changed since.
        """
        result = {}
        for claim in paper.judged(self.scale):
            for arm, quantity in claim.relation.uses():
                runs = self.of(arm)
                missing = not runs or any(str(quantity) not in run.values for run in runs)
                if missing:
                    raise UserError(
                        f"the kept measurements have no {str(quantity)!r} of arm {arm!r}, which the claim {claim.id} "
                        f"needs now; measure again: longlag reproduce {self.paper} --scale {self.scale}"
                    )
                horizon = float(min(run.budget for run in runs)) if quantity.censored else math.inf
                values = tuple(run.values[str(quantity)] for run in runs)
                result[(arm, str(quantity))] = Sample(values, horizon, tuple(run.drawn for run in runs))
        return result

    def write(self, path: Path) -> None:
        """As JSON with a checksum, a run a line."""
        fields = files.sealed(self.model_dump(mode="json"))
        runs = ",\n".join(f"  {json.dumps(run)}" for run in fields.pop("runs"))
        head = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in fields.items())
        files.write(path, f'{{\n{head} "runs": [\n{runs}\n ]\n}}\n'.encode())


def read(path: Path) -> PaperMeasurements:
    """The measurements in a file.

    Raises:
        UserError: when it cannot be read, was changed since it was written, or holds something else.
    """
    what = "holds no measurements of a paper study"
    fields = files.read_measurements(path, what)
    try:
        return PaperMeasurements.model_validate(fields)
    except ValidationError as error:
        raise UserError(explain(error, f"{path} {what}", PaperMeasurements)) from error


def spec_hash(paper: PaperSpec) -> str:
    """SHA-256 of the study's file, defaults filled in, but for fields that are newer than kept measurements."""
    fields = paper.model_dump(mode="json")
    for part in (fields, *(claim["relation"] for claim in fields["claims"])):
        for name in ("substitute", "why"):
            if part.get(name) == "":
                del part[name]
    text = json.dumps(fields, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def collect(
    paper: PaperSpec,
    scale: ScaleName,
    entries: Sequence[Entry],
    result: StudyResult,
    store: Store,
    chosen: Chosen,
    search_runs: int,
) -> PaperMeasurements:
    """Everything that the page needs, from a finished study.

    Raises:
        UserError: when a run is missing, because it failed.
    """
    found = {
        run.run_key: (run, run_id)
        for trial in result.trials
        for run, run_id in zip(trial.runs, trial.run_ids, strict=True)
    }
    missing = [entry.name for entry in entries if entry.spec.run_key not in found]
    if missing:
        raise UserError(f"{len(missing)} of {len(entries)} runs failed, such as {missing[0]!r}: no claim is judged")
    wanted: dict[str, dict[str, Any]] = {}
    for claim in paper.claims:
        for arm, quantity in claim.relation.uses():
            wanted.setdefault(arm, {})[str(quantity)] = quantity
    runs, flows = [], dict[str, dict[str, list[list[tuple[int, float]]]]]()
    for entry in entries:
        run, run_id = found[entry.spec.run_key]
        curve = store.series(run_id, "validation/score")
        values = {text: value_of(run, quantity, curve) for text, quantity in wanted.get(entry.arm, {}).items()}
        runs.append(_run(entry, run, curve, values))
        for when, points in gradient_curves(store, run_id).items():
            flows.setdefault(entry.arm, {}).setdefault(when, []).append(points)
    return PaperMeasurements(
        paper=paper.name,
        scale=scale,
        spec_hash=spec_hash(paper),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=round(sum(run.seconds for run in runs), 1),
        environment=_environment([found[entry.spec.run_key][0] for entry in entries]),
        chosen={arm: dict(values) for arm, values in chosen.items()},
        search_runs=search_runs,
        flow={arm: {when: _mean(seeds) for when, seeds in kinds.items()} for arm, kinds in flows.items()},
        runs=runs,
    )


def _run(entry: Entry, run: RunResult, curve: Curve, values: Mapping[str, float]) -> PaperRun:
    return PaperRun(
        arm=entry.arm,
        seed=entry.seed,
        run_key=run.run_key,
        drawn=dict(entry.drawn),
        outcome=run.outcome,
        updates=run.updates,
        budget=run.spec.training.updates,
        solved_at=run.solved_at,
        values={"score": value_of(run, parse("score"), curve), **values},
        gradient={name: _round(value) for name, value in run.gradient.items()},
        parameters=run.parameters,
        seconds=round(run.wall_seconds, 2),
        curve=[(update, _round(score)) for update, score in thin(curve)],
    )


def _environment(runs: Iterable[RunResult]) -> dict[str, str]:
    """What all runs agree on; where they differ, every value that there was."""
    seen: dict[str, list[str]] = {}
    for run in runs:
        for name, value in run.environment.items():
            if value not in seen.setdefault(name, []):
                seen[name].append(value)
    return {name: " / ".join(sorted(values)) for name, values in seen.items() if any(values)}


def thin(curve: Curve) -> list[tuple[int, float]]:
    """At most 60 points, the first and the last among them."""
    if len(curve) <= POINTS:
        return list(curve)
    return [curve[i] for i in np.unique(np.linspace(0, len(curve) - 1, POINTS).round().astype(int))]


def gradient_curves(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Of the top layer's output before and after training, by lag: of the loss at one step where there is one."""
    result: dict[str, list[tuple[int, float]]] = {}
    names = store.series_names(run_id)
    for section, by_lag in (("gradient_by_lag/", True), ("gradient_through_time/", False)):
        found = {name.split("/")[1] for name in names if name.startswith(section) and name.endswith(".h/last")}
        outputs = sorted(found, key=by_layer)
        if not outputs:
            continue
        top = outputs[-1]
        for when, suffix in (("before", "update_000000"), ("after", "last")):
            points = store.series(run_id, f"{section}{top}/{suffix}")
            if points:
                steps = max(step for step, _ in points)
                lags = points if by_lag else [(steps - step, norm) for step, norm in points]
                result[when] = thin_lags(sorted(lags))
        return result
    return result


def thin_lags(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(points) <= POINTS:
        return points
    index = np.unique(np.geomspace(1, len(points), POINTS).round().astype(int)) - 1
    return [points[i] for i in index]


def _mean(seeds: Sequence[list[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Geometric mean over seeds of the norm over that at lag 0; lags that every seed has, norms above 0."""
    tables = [dict(points) for points in seeds]
    lags = sorted(set.intersection(*(set(table) for table in tables)))
    result = []
    for lag in lags:
        ratios = [table[lag] / table[lags[0]] if table[lags[0]] > 0 else 0.0 for table in tables]
        if all(ratio > 0 for ratio in ratios):
            result.append((lag, _round(math.exp(sum(map(math.log, ratios)) / len(ratios)))))
    return result


def _round(value: float) -> float:
    """Five figures: for pictures, not for tests."""
    return float(f"{value:.5g}") if math.isfinite(value) else value
