"""The quantities of a finished run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from longlag.errors import UserError, quoted
from longlag.papers.quantity import Quantity
from longlag.training import RunResult

Curve = Sequence[tuple[int, float]]
"""Update and validation score, at every evaluation."""


def value_of(run: RunResult, quantity: Quantity, curve: Curve) -> float:
    """A quantity of a run; infinity for a number of updates beyond the budget, and the worst there is if it diverged.

    Args:
        run: what was trained.
        quantity: which number.
        curve: validation score by update, for ``updates to score``.

    Raises:
        UserError: when the run does not have it.
    """
    match quantity.kind:
        case "solved":
            return float(run.solved)
        case "updates to solved":
            return run.updates_to_solved
        case "updates to score":
            if run.outcome == "diverged":
                return math.inf
            return float(next((update for update, score in curve if score < quantity.share), math.inf))
        case "score":
            if run.outcome == "diverged":
                return math.inf
            score = run.score if quantity.split == "test" else run.validation_score
            return score if not math.isnan(score) else math.inf
        case "metric" | "beyond":
            return _metric(run, quantity)
        case "gradient":
            if quantity.name not in run.gradient:
                return math.nan  # such as a ratio to a gradient of zero
            return run.gradient[quantity.name]
        case "seconds":
            return run.wall_seconds
        case "parameters":
            return float(run.parameters)


def _metric(run: RunResult, quantity: Quantity) -> float:
    goals = {metric.name: metric.goal for metric in run.spec.task.build().metrics}
    if quantity.name not in goals:
        raise UserError(
            f"{quantity}: {run.spec.task.name} has no metric {quoted(quantity.name)}; it has {', '.join(goals)}"
        )
    worst = math.inf if goals[quantity.name] == "min" else -math.inf
    if run.outcome == "diverged":
        return worst
    found = {"test": run.test, "validation": run.validation}.get(quantity.split) or run.beyond.get(quantity.split)
    if found is None:
        raise UserError(f"{quantity}: the run has no split {quoted(quantity.split)}; it has test, validation"
                        + "".join(f", {name}" for name in run.beyond))  # fmt: skip
    value = found[quantity.name]
    return worst if math.isnan(value) else value
