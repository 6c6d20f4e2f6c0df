"""What a run costs: updates, time, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag.objectives.base import Objective

if TYPE_CHECKING:
    from longlag.training import RunResult

NEVER = 2
"""Times its budget that a run which never solved the task counts for (PAR2, as in the configuration of SAT solvers:
Hutter et al. 2009 use 10, SAT competitions 2)."""


class UpdatesToSolved(Objective):
    """Updates until the task's criterion was met; twice the budget for a run that never met it, or that diverged."""

    def measure(self, run: RunResult) -> float:
        return run.updates_to_solved if run.solved else float(NEVER * run.spec.training.updates)

    def diverged(self, run: RunResult) -> float:
        return self.measure(run)


class Seconds(Objective):
    """Wall-clock seconds of the run, evaluations included; a run that is found and not trained again keeps its own."""

    def measure(self, run: RunResult) -> float:
        return run.wall_seconds


class Parameters(Objective):
    """Trainable numbers of the network."""

    def measure(self, run: RunResult) -> float:
        return float(run.parameters)
