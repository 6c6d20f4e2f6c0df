"""Does gradient flow say who learns? Rank correlations over the runs of a study, and the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longlag.analysis.ranks import Values, bootstrap, spearman
from longlag.analysis.result import StudyResult
from longlag.training import RunResult

RESAMPLES = 2000
LEVEL = 0.95
FEWEST = 4
"""Runs below which nothing is said."""

PREDICTORS = {
    "horizon before training": "share of the steps that the gradient reaches back (1%), before the first update",
    "horizon during training": "the same, median over evaluations (loss at one step) or logged updates (whole loss)",
    "horizon at the end": "the same when last measured; learning may be its cause as well as its effect",
    "decades kept": "minus the decades between the gradient at the first and at the last step, before training",
}


@dataclass(frozen=True)
class RankCorrelation:
    """How one number of gradient flow goes with learning, over runs.

    Args:
        predictor: one of `PREDICTORS`.
        outcome: ``solved``, 1 or 0; ``score``, minus the validation score: more is better learned.
        runs: how many have both.
        rho: Spearman's rank correlation; None where one of the two does not vary.
        low, high: 95% interval, percentile bootstrap over runs (2,000 resamples, fixed seed). Seeds of one point count
            as runs of their own, so that it is too narrow where they resemble each other.
    """

    predictor: str
    outcome: str
    runs: int
    rho: float | None
    low: float | None
    high: float | None


def runs_of(result: StudyResult) -> list[RunResult]:
    return [run for trial in result.trials for run in trial.runs]


def horizon(run: RunResult, when: str) -> float:
    """As a share of the longest lag; of the loss at one step where it was measured, else of the whole loss."""
    for kind in (f"{when}_lag_", f"{when}_"):
        steps = run.gradient.get(f"{kind}steps")
        if steps:
            return run.gradient[f"{kind}horizon"] / steps
    return math.nan


def predictor(run: RunResult, name: str) -> float:
    """One of `PREDICTORS`, NaN where it was not measured."""
    match name:
        case "horizon before training":
            return horizon(run, "initial")
        case "horizon at the end":
            return horizon(run, "final")
        case "horizon during training":
            if "training_lag_horizon" in run.gradient:
                return run.gradient["training_lag_horizon"] / run.gradient["final_lag_steps"]
            steps = run.gradient.get("initial_steps") or math.nan
            return run.gradient.get("training_horizon", math.nan) / steps
        case _:
            kind = "initial_lag_" if "initial_lag_log10_ratio" in run.gradient else "initial_"
            return -abs(run.gradient.get(f"{kind}log10_ratio", math.nan))


def outcome(run: RunResult, name: str) -> float:
    """More is better. A run that diverged has the worst score there is."""
    if name == "solved":
        return float(run.solved)
    return -run.validation_score


def correlations(result: StudyResult) -> list[RankCorrelation]:
    """Every predictor with every outcome, over all runs of the study; diverged ones count."""
    runs = runs_of(result)
    return [
        correlate(x, y, np.array([predictor(r, x) for r in runs]), np.array([outcome(r, y) for r in runs]))
        for x in PREDICTORS
        for y in ("solved", "score")
    ]


def correlate(x_name: str, y_name: str, x: Values, y: Values) -> RankCorrelation:
    """Spearman's correlation of two numbers of each run and its interval."""
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if len(x) < FEWEST or len(set(x)) < 2 or len(set(y)) < 2:
        return RankCorrelation(x_name, y_name, len(x), None, None, None)
    low, high = np.nanquantile(bootstrap(x, y, RESAMPLES), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return RankCorrelation(x_name, y_name, len(x), spearman(x, y), float(low), float(high))


def as_json(correlations: Sequence[RankCorrelation]) -> list[dict[str, Any]]:
    return [asdict(correlation) for correlation in correlations]


Panels = Mapping[str, Mapping[str, list[tuple[float, float, bool]]]]
"""When the horizon was measured -> cell -> its share, score and whether the run solved its task, of every run."""


def panels(result: StudyResult) -> Panels:
    """What `scatter` shows; empty where no run has a horizon."""
    found: dict[str, dict[str, list[tuple[float, float, bool]]]] = {}
    for name in ("horizon before training", "horizon during training"):
        for run in runs_of(result):
            x, y = predictor(run, name), -outcome(run, "score")
            if math.isfinite(x):
                found.setdefault(name, {}).setdefault(run.spec.cell.name, []).append((x, y, run.solved))
    return found


def scatter(shown: Panels, title: str, path: Path) -> None:
    """Score over the horizon before and during training, a point a run: PNG."""
    from longlag.probes import draw

    draw.scatter(shown, path, f"{title}: gradient flow and learning", "score (trivial predictor 1)")
