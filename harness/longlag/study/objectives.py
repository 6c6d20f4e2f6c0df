"""What a study wants to be small: one number a trial for each of its objectives, the mean over its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from longlag.spec.study import Objective
from longlag.training import RunResult

NEVER = 2
"""A run that never solved the task counts as having needed so many times its budget (PAR2, as in the configuration of
SAT solvers: Hutter et al. 2009 use 10, SAT competitions 2)."""


def measure(name: Objective, run: RunResult) -> float:
    """One objective of one run.

    score: on the validation split at the last evaluation (perfect 0, trivial predictor 1).
    updates_to_solved: updates until the task's criterion was met; `NEVER` times the budget for a run that never did,
    diverged ones among them.
    seconds: wall-clock time of the run, evaluations included. It was measured once: a run that is found and not trained
    again keeps it.
    parameters: trainable numbers.

    A diverged run is infinitely bad in all but `updates_to_solved`: stopping early does not make it a fast one.
    """
    if name == "updates_to_solved":
        return float(run.solved_at if run.solved_at is not None else NEVER * run.spec.training.updates)
    if run.outcome == "diverged" or not run.validation:
        return math.inf
    if name == "seconds":
        return run.wall_seconds
    if name == "parameters":
        return float(run.parameters)
    score = float(run.spec.task.build().score(run.validation))
    return score if math.isfinite(score) else math.inf


def mean(name: Objective, runs: Sequence[RunResult]) -> float:
    """The mean over runs, one a seed; infinite when one of them is."""
    return sum(measure(name, run) for run in runs) / len(runs)
