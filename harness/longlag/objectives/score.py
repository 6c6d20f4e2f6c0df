"""How well a run solves its task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag.objectives.base import Objective

if TYPE_CHECKING:
    from longlag.training import RunResult


class Score(Objective):
    """The score on the validation split at the last evaluation: perfect 0, trivial predictor 1."""

    def measure(self, run: RunResult) -> float:
        return run.validation_score
