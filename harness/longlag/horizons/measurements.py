"""What a horizon study found: every run in a small file, from which fits, chart and page are made again in seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from longlag import files
from longlag.errors import UserError
from longlag.horizons.psi import Psi, Threshold, Trial
from longlag.horizons.spec import HorizonSpec
from longlag.objectives import objective_value
from longlag.training import RunResult, is_solved

Phase = Literal["rate", "gradient", "counted"]


class HorizonRun(BaseModel):
    """One run.

    Attributes:
        phase: ``rate`` chose the learning rate, ``gradient`` measured gradient flow before training, ``counted`` is one
            of those that T50 is fitted to.
        lag: steps.
        rate: learning rate.
        seed: of the run.
        run_key: its identity.
        outcome: solved, budget or diverged.
        updates: made.
        solved_at: the update of the first evaluation that met the criterion; None for never.
        score: on the validation split at the end, perfect 0, trivial predictor 1; infinity for a diverged run.
        cpu_seconds: of its process.
        wall_seconds: elapsed.
        gradient: gradient-flow scalars before the first update, of ``gradient`` runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    phase: Phase
    lag: int
    rate: float
    seed: int
    run_key: str
    outcome: str
    updates: int
    solved_at: int | None
    score: float
    cpu_seconds: float
    wall_seconds: float
    gradient: dict[str, float] = {}

    @classmethod
    def of(cls, result: RunResult, phase: Phase, lag: int) -> HorizonRun:
        before = {key: value for key, value in result.gradient.items() if key.startswith("initial_")}
        return cls(
            phase=phase,
            lag=lag,
            rate=result.spec.optimizer.lr,
            seed=result.spec.seed,
            run_key=result.run_key,
            outcome=result.outcome,
            updates=result.updates,
            solved_at=result.solved_at,
            score=objective_value("score", result),
            cpu_seconds=round(result.cpu_seconds, 2),
            wall_seconds=round(result.wall_seconds, 2),
            gradient=before if phase == "gradient" else {},
        )

    @property
    def solved(self) -> bool:
        """Whether the run solved its task, as `RunResult.solved` says."""
        return is_solved(self.outcome, self.solved_at)


class CellMeasurements(BaseModel):
    """One cell's search.

    Attributes:
        cell: the word that stands for it.
        version: of the cell.
        hidden_size: solved for.
        parameters: trainable numbers at that size, at the longest lag.
        rate: the learning rate that was chosen.
        runs: all of them, in the order in which they were asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: str
    version: int
    hidden_size: int
    parameters: int
    rate: float
    runs: tuple[HorizonRun, ...]

    def of_phase(self, phase: Phase) -> list[HorizonRun]:
        return [run for run in self.runs if run.phase == phase]

    @property
    def counted(self) -> list[HorizonRun]:
        return self.of_phase("counted")

    def threshold(self, spec: HorizonSpec) -> Threshold:
        """T50 and its interval, fitted to the counted runs."""
        return Psi(spec.shortest, spec.longest).estimate([Trial(run.lag, run.solved) for run in self.counted])

    def gradient_horizon(self) -> tuple[float, bool] | None:
        """Median over seeds of the gradient's horizon (1%) before training, in steps, at the longest lag.

        Of the loss at one step where there is one at every step, else of the whole loss. The second is true where it
        reaches all the way back, so that it may be longer. None where it was not measured.
        """
        found = []
        for run in self.of_phase("gradient"):
            kind = "initial_lag_" if "initial_lag_horizon" in run.gradient else "initial_"
            if f"{kind}horizon" in run.gradient:
                found.append((run.gradient[f"{kind}horizon"], run.gradient[f"{kind}steps"]))
        if not found:
            return None
        middle = median(reached for reached, _ in found)
        return middle, middle >= min(steps for _, steps in found)

    def updates_to_solve(self) -> float | None:
        """Median over the counted runs that were solved."""
        solved = [float(run.solved_at) for run in self.counted if run.solved and run.solved_at is not None]
        return median(solved) if solved else None

    def seconds(self, *phases: Phase) -> float:
        """Processor time of all runs of these phases; of all phases when none is named."""
        return sum(run.cpu_seconds for run in self.runs if not phases or run.phase in phases)


class HorizonMeasurements(BaseModel):
    """A horizon study as it stands in its data file.

    Attributes:
        format: of the file.
        spec: what was asked for.
        identity: its hash.
        criterion: when a run counts as solved, at the shortest lag, in words.
        task_version: of the task.
        method: constants of the search and of the fit.
        environment: versions and machine, each with the values that runs reported.
        cells: one a cell, in the order asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    spec: HorizonSpec
    identity: str
    criterion: str
    task_version: int
    method: dict[str, Any]
    environment: dict[str, list[str]]
    cells: tuple[CellMeasurements, ...]

    @property
    def task(self) -> str:
        """The task's name."""
        given = self.spec.base["task"]
        return str(given["name"] if isinstance(given, dict) else given)

    def by_horizon(self) -> list[tuple[CellMeasurements, Threshold]]:
        """Cells from the longest T50 to the shortest; what is beyond the longest lag by its probability."""
        fits = [(cell, cell.threshold(self.spec)) for cell in self.cells]

        def key(entry: tuple[CellMeasurements, Threshold]) -> tuple[float, float, str]:
            cell, fit = entry
            if fit.median is not None:
                return -fit.median, 0.0, cell.cell
            return (-math.inf, -fit.above, cell.cell) if fit.above > fit.below else (0.0, fit.below, cell.cell)

        return sorted(fits, key=key)

    def write(self, path: Path) -> None:
        """As JSON with a checksum, one run a line, so that a change shows as such."""
        fields = files.sealed(self.model_dump(mode="json"))
        cells = fields.pop("cells")
        head = json.dumps(fields, indent=1, ensure_ascii=False)[:-2]
        parts = []
        for cell in cells:
            runs = ",\n".join("   " + json.dumps(run, ensure_ascii=False) for run in cell.pop("runs"))
            parts.append("  " + json.dumps(cell, ensure_ascii=False)[:-1] + f', "runs": [\n{runs}\n  ]}}')
        text = head + ',\n "cells": [\n' + ",\n".join(parts) + "\n ]\n}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text.encode())


def read(path: Path) -> HorizonMeasurements:
    """A study from its data file.

    Raises:
        UserError: when there is none, it was changed since it was written, or it is no such file.
    """
    what = "holds no measurements of a horizon study"
    fields = files.read_measurements(path, what)
    try:
        return HorizonMeasurements.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path} {what}: {where + ': ' if where else ''}{first['msg']}") from error


def environment(results: Sequence[RunResult]) -> dict[str, list[str]]:
    """What the runs' environments were, each value once."""
    found: dict[str, set[str]] = {}
    for result in results:
        for key, value in result.environment.items():
            found.setdefault(key, set()).add(value)
    return {key: sorted(values) for key, values in sorted(found.items())}
