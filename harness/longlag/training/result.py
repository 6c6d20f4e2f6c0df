"""What a run returns, and the events it reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from longlag.probes import Curve
from longlag.spec import RunSpec
from longlag.task import Answer, Array, Batch, Task
from longlag.training.lengths import LengthPoint

if TYPE_CHECKING:
    from torch import Tensor

    from longlag.training.data import Split

Outcome = Literal["solved", "budget", "diverged", "pruned", "interrupted"]


def is_solved(outcome: str, solved_at: int | None) -> bool:
    """Whether a run solved its task: an evaluation met the criterion, and the run did not diverge afterwards.

    A run may train on after it met the criterion (``training.stop_when_solved: false``). If it then diverges, its
    network is lost and it counts as unsolved, like every other diverged run.
    """
    return solved_at is not None and outcome != "diverged"


class RunResult(BaseModel):
    """The result of one run: small, typed and complete.

    Attributes:
        spec: what was run.
        run_key: its identity.
        outcome: why it stopped.
        reason: the same in a sentence.
        updates: parameter updates made.
        solved_at: the update of the first evaluation that met the task's criterion; None for never. A run that
            diverged later has one, and is not `solved`.
        validation: the task's metrics on the validation split at the last evaluation; empty when there was none.
        validation_score: the first of them, scaled as `score`; infinity for a run that diverged or was never evaluated.
        test: the same on the test split, with the final parameters; None when the run was cut short.
        beyond: the same on the further test splits, by name.
        by_length: where the task says of a sequence what share of it is right, and lengths differ: their means, the
            share and how many sequences, in rising order, over the test split and those beyond together.
        baseline: the trivial predictor's value of the first metric.
        score: the first metric on the test split, scaled so that perfect is 0 and the trivial predictor 1;
            NaN for a diverged run.
        parameters: trainable numbers.
        state_size: numbers that the network keeps from one step to the next for one sequence, all layers together,
            after as many steps as the test split has; None in results of an older longlag.
        wall_seconds: elapsed time, evaluation and probes included.
        cpu_seconds: processor time of the process in that time.
        gradient: gradient-flow scalars of the top layer's output, see docs/gradient-flow.md: before the first update
            (``initial_...``), when last measured (``final_...``) and when the run diverged (``divergence_...``),
            the fields of `longlag.probes.Scalars`, and ``steps``, the longest lag there is; the same of the loss at
            one step (``initial_lag_...``); medians over the logged updates (``training_horizon``,
            ``training_log10_ratio``) and over the evaluations (``training_lag_horizon``). What is not a number (a
            ratio to a gradient of zero, say) is left out.
        environment: versions, threads, kernel, processor, compiler: all that the bits of a run may depend on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    spec: RunSpec
    run_key: str
    outcome: Outcome
    reason: str
    updates: int
    solved_at: int | None
    validation: dict[str, float]
    validation_score: float
    test: dict[str, float] | None
    beyond: dict[str, dict[str, float]] = {}
    by_length: tuple[LengthPoint, ...] = ()
    baseline: float
    score: float
    parameters: int
    state_size: int | None = None
    wall_seconds: float
    cpu_seconds: float
    gradient: dict[str, float]
    environment: dict[str, str]

    @property
    def solved(self) -> bool:
        """Whether the run solved its task; see `is_solved`."""
        return is_solved(self.outcome, self.solved_at)

    @property
    def updates_to_solved(self) -> float:
        """The update at which the run solved its task; infinity for a run that did not."""
        return float(self.solved_at) if self.solved and self.solved_at is not None else math.inf


class Pruned(Exception):
    """Raised by a callback to end a run early; its text says why."""


class RunCallback:
    """Receives the events of a run. Every method has a default that does nothing.

    A callback never changes a run's numbers; it may end the run, by raising `Pruned` from `evaluated`.
    """

    def started(
        self, spec: RunSpec, splits: Mapping[str, Split], parameters: int, environment: Mapping[str, str]
    ) -> None:
        """Before the first update. `splits` are ``validation`` and ``test``."""

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        """Numbers at an update: ``train/loss``, ``gradient_norm/global`` ..., ``validation/mse`` ..."""

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        """The task's metrics on the validation split after `update` updates, and their scaled score."""

    def flow(self, update: int, curves: Sequence[Curve]) -> None:
        """Gradient-norm curves through time after `update` updates."""

    def training_flow(self, update: int, curves: Sequence[Curve]) -> None:
        """The same of the batch that the `update`-th update was made from, at logged updates."""

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        """Gradient norms of the loss at one step, by lag, after `update` updates."""

    def predicted(self, task: Task, outputs: Array, answer: Answer | None, batch: Batch) -> None:
        """What the trained model makes of the first sequences of the test split, for tables and pictures."""

    def weights(self, values: Mapping[str, Tensor]) -> None:
        """The parameters and buffers at the end of a run that came to it, before `finished`."""

    def finished(self, result: RunResult) -> None:
        """After the last evaluation."""

    def saved(self) -> Mapping[str, Any]:
        """What `restored` needs to continue after a crash: JSON values by name, or NumPy arrays."""
        return {}

    def restored(self, state: Mapping[str, Any]) -> None:
        """The run continues from a checkpoint; `state` is this callback's part. Called before `started`."""
