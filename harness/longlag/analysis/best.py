"""A study's best run, chosen on the validation split alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from longlag.analysis.result import StudyResult, TrialResult
from longlag.objectives import objective_value
from longlag.training import RunResult


@dataclass(frozen=True)
class Best:
    """The run whose weights stand for a study.

    Args:
        trial: the best one, by the study's first objective.
        run_id: of its run with the best validation score.
        result: of that run.
    """

    trial: TrialResult
    run_id: str
    result: RunResult


def best_run(study: StudyResult) -> Best | None:
    """The best run; None when no trial is complete without a diverged run."""
    trial = study.best
    if trial is None or trial.objective is None or not math.isfinite(trial.objective) or not trial.runs:
        return None
    scores = [objective_value("score", run) for run in trial.runs]
    index = scores.index(min(scores))
    return Best(trial, trial.run_ids[index], trial.runs[index])
