"""Two studies side by side: the points that both have, their runs against each other, with two-sided tests."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from longlag.analysis.result import StudyResult, TrialResult
from longlag.papers import statistics
from longlag.papers.relations import Sample
from longlag.papers.report import median
from longlag.spec import label
from longlag.training import RunResult


@dataclass(frozen=True)
class Side:
    """The runs of one study at a point.

    Args:
        runs: how many; diverged ones count.
        score: median of the test score, with its interval.
        solved: how many met the task's criterion.
        updates: median update of that, with its interval; beyond the budget for those that did not.
    """

    runs: int
    score: str
    solved: int
    updates: str


@dataclass(frozen=True)
class Comparison:
    """A point of both studies.

    Args:
        point: in words.
        first, second: the two.
        p_score: two-sided, Mann–Whitney by permutation.
        p_updates: two-sided, log-rank by permutation.
    """

    point: str
    first: Side
    second: Side
    p_score: float
    p_updates: float


def compare(first: StudyResult, second: StudyResult) -> list[Comparison]:
    """Every point that both have; where they share none, the best of each."""
    ours, theirs = _by_point(first), _by_point(second)
    shared = [(name, ours[name], theirs[name]) for name in ours if name in theirs]
    if not shared and first.best and second.best:
        words = f"best: {point(first.best)} / {point(second.best)}"
        shared = [(words, first.best, second.best)]
    return [_compare(name, one, other) for name, one, other in shared if one.runs and other.runs]


def point(trial: TrialResult) -> str:
    return ", ".join(f"{path} {label(value)}" for path, value in trial.point.items()) or "the base run"


def _by_point(result: StudyResult) -> dict[str, TrialResult]:
    """Complete trials, the best of those at one point."""
    found: dict[str, TrialResult] = {}
    for trial in result.trials:
        if trial.state == "complete":
            key = json.dumps({path: label(value) for path, value in sorted(trial.point.items())})
            found.setdefault(key, trial)
    return found


def _compare(name: str, one: TrialResult, other: TrialResult) -> Comparison:
    scores = [[_score(run) for run in trial.runs] for trial in (one, other)]
    updates = [[run.updates_to_solved for run in trial.runs] for trial in (one, other)]
    horizon = float(min(run.spec.training.updates for trial in (one, other) for run in trial.runs))
    return Comparison(
        point(one) if name.startswith("{") else name,
        _side(one.runs, scores[0], updates[0]),
        _side(other.runs, scores[1], updates[1]),
        _two_sided(statistics.lower(*scores), statistics.lower(*scores[::-1])),
        _two_sided(
            statistics.faster(updates[0], updates[1], horizon), statistics.faster(updates[1], updates[0], horizon)
        ),
    )


def _two_sided(one: float, other: float) -> float:
    return min(1.0, 2 * min(one, other))


def _score(run: RunResult) -> float:
    return math.inf if run.outcome == "diverged" or math.isnan(run.score) else run.score


def _side(runs: Sequence[RunResult], scores: Sequence[float], updates: Sequence[float]) -> Side:
    budget = float(min(run.spec.training.updates for run in runs))
    solved = sum(math.isfinite(value) for value in updates)
    return Side(len(runs), median(Sample(tuple(scores))), solved, median(Sample(tuple(updates), budget)))


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [asdict(comparison) for comparison in comparisons]
