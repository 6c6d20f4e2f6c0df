"""The adding problem: the sum of two marked numbers in a long sequence of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task
from longlag_tasks._marks import FIRST_PAIRS, MINIMUM, distinct, draw_1997, draw_pascanu, drawing
from longlag_tasks._options import year_as_text

TOLERANCE = 0.04
"""An output nearer to its target than this counts as right (Hochreiter and Schmidhuber 1997)."""

TOLERANCE_PASCANU = 0.2
"""There it is the squared error that is held against 0.04."""

REASONS = {"1997": "ten pairs to mark and a final one", "pascanu": "a first tenth to mark"}

SOLVED_MSE = 0.005
SOLVED_ACCURACY = {"1997": 0.999, "pascanu": 0.99}


class AddingOptions(Options):
    """Options of `Adding`."""

    length: int = Field(
        100,
        description="T, steps; 1997: the least, sequences have T ... T + floor(T/10); pascanu: one less at most",
    )
    variant: Literal["halves", "anywhere", "1997", "pascanu"] = Field(
        "halves",
        description="halves: one mark in each half (Arjovsky et al. 2016); anywhere: two marks at any two "
        "steps (Bai et al. 2018); 1997: experiment 4 of Hochreiter and Schmidhuber; pascanu: one in the first tenth, "
        "one in the next four (Pascanu et al. 2013)",
    )
    solved_mse: float = Field(SOLVED_MSE, gt=0, description="halves, anywhere: solved when the MSE is below")
    solved_accuracy: float | None = Field(
        None,
        gt=0,
        le=1,
        description="1997, pascanu: solved when so large a share is right; none: 0.999 and 0.99",
    )

    @field_validator("variant", mode="before")
    @classmethod
    def _year(cls, value: Any) -> Any:
        return year_as_text(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        least = MINIMUM.get(self.variant, 2)
        if self.length < least:
            reason = REASONS.get(self.variant, "two steps to mark")
            raise ValueError(
                f"length should be at least {least} for the variant {self.variant!r} ({reason}), not {self.length}"
            )
        by_accuracy = self.variant in SOLVED_ACCURACY
        if by_accuracy and self.solved_mse != SOLVED_MSE:
            raise ValueError(f"the variant {self.variant!r} is solved by accuracy: set solved_accuracy, not solved_mse")
        if not by_accuracy and self.solved_accuracy is not None:
            raise ValueError(f"the variant {self.variant!r} is solved by its MSE: set solved_mse, not solved_accuracy")
        return self


class Adding(Task[AddingOptions]):
    """Two channels, values ``v_t`` and marks ``m_t``; after the last step, the sum of the two marked values.

    Variants (steps t = 0 ... T-1):

    halves (default)
        ``v_t ~ U[0, 1)``; ``m_t = 1`` at one uniform step of ``0 ... floor(T/2)-1`` and at one of
        ``floor(T/2) ... T-1``, else 0. Target ``y = sum_t m_t v_t``. Arjovsky, Shah and Bengio (2016).
    anywhere
        The same, but the two marks are drawn without replacement from all steps. Bai, Kolter and Koltun (2018).
    1997
        ``v_t ~ U[-1, 1)``. The length is uniform on ``T ... T + floor(T/10)``; shorter sequences are padded
        with zeros. The first mark is uniform on pairs 0 ... 9, the second on the first ``K = floor(T/2) - 1``
        pairs that are still unmarked. ``m_t = 1`` at both, -1 at the first and the final pair, else 0. A mark
        on the first pair is covered by its -1, and its value counts as 0. Target ``y = 0.5 + (X1 + X2) / 4``.
        Hochreiter and Schmidhuber (1997), experiment 4.
    pascanu
        ``v_t ~ U[0, 1)``. The length l is uniform on ``T ... T + floor(T/10) - 1``; one mark in the first
        ``floor(l/10)`` steps, one in the next ``floor(2l/5)``; ``m_t = 1`` at both, else 0. Target, the mean
        ``y = (X1 + X2) / 2``. Pascanu, Mikolov and Bengio (2013).

    The 1997 paper sets X1 to zero "in the rare case where the first pair gets marked" and does not say what a
    *second* mark there does (probability 9/(10K)). Here X2 is then zero likewise, so that the target is always
    0.5 plus a quarter of the values whose mark is 1.

    Shapes: inputs float32 ``[T, B, 2]``, targets float32 ``[B, 1]``; the loss is the mean squared error, in
    squared units of the target. 1997 and pascanu have half the range of the others: errors do not compare.
    """

    metrics = (
        Metric("mse", "min", "squared units of the target", "mean squared error"),
        Metric(
            "accuracy",
            "max",
            "share",
            f"outputs less than {TOLERANCE} (pascanu: {TOLERANCE_PASCANU}) from their target",
            best=1.0,
        ),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(2), 1, MappingKind.CLASSIFICATION, "mse")

    @property
    def _tolerance(self) -> float:
        return TOLERANCE_PASCANU if self.options.variant == "pascanu" else TOLERANCE

    @property
    def _share(self) -> float | None:
        """The share that has to be right; None where the MSE decides."""
        share = self.options.solved_accuracy
        return SOLVED_ACCURACY.get(self.options.variant) if share is None else float(share)

    @property
    def criterion(self) -> str:
        if self._share is not None:
            return f"accuracy (error below {self._tolerance:g}) of at least {self._share:g}"
        return f"mse below {self.options.solved_mse:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        if self._share is not None:
            return bool(metrics["accuracy"] >= self._share)
        return bool(metrics["mse"] < self.options.solved_mse)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        length, variant = self.options.length, self.options.variant
        if variant == "1997":
            drawn = draw_1997(rng, length, size, lowest=-1, covered=0)
            targets = 0.5 + (drawn.first + drawn.second) / 4
            return Batch(drawn.inputs, targets[:, None].astype(np.float32), drawn.lengths)
        if variant == "pascanu":
            drawn = draw_pascanu(rng, length, size)
            targets = (drawn.first + drawn.second) / 2
            return Batch(drawn.inputs, targets[:, None].astype(np.float32), drawn.lengths)
        inputs = np.zeros((length, size, 2), np.float32)
        inputs[..., 0] = rng.random((length, size), dtype=np.float32)
        if variant == "halves":
            first = rng.integers(0, length // 2, size)
            second = rng.integers(length // 2, length, size)
        else:
            first, second = distinct(rng.integers(0, length, size), rng.integers(0, length - 1, size))
        columns = np.arange(size)
        inputs[first, columns, 1] = inputs[second, columns, 1] = 1
        targets = inputs[first, columns, 0].astype(np.float64) + inputs[second, columns, 0]
        return Batch(inputs, targets[:, None].astype(np.float32))

    def baseline(self) -> Baseline:
        if self.options.variant == "1997":
            unmarked = self.options.length // 2 - 1
            counted = 2 - 1 / FIRST_PAIRS - (1 - 1 / FIRST_PAIRS) / unmarked
            formula = "Var(0.5 + (X1 + X2)/4) = (1/3)/16 * (19/10 - 9/(10K)), K = floor(T/2) - 1"
            return Baseline(counted / 48, "always 0.5, the mean of the target", formula)
        if self.options.variant == "pascanu":
            return Baseline(1 / 24, "always 0.5, the mean of the target", "Var((X1 + X2)/2) = 2/12/4 = 1/24")
        return Baseline(1 / 6, "always 1, the mean of the target", "Var(X1 + X2) = 2/12 = 1/6")

    def trivial(self, batch: Batch) -> Array:
        return np.full((batch.size, 1), 0.5 if self._share is not None else 1.0, dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
        total: Array = np.where(marks == 1, values, 0).sum(0, dtype=np.float64)[:, None]
        if self.options.variant == "1997":
            total = 0.5 + total / 4
        elif self.options.variant == "pascanu":
            total = total / 2
        return total.astype(np.float32)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        errors = outputs.astype(np.float64) - batch.targets
        return {"mse": float(np.mean(errors**2)), "accuracy": float(np.mean(np.abs(errors) < self._tolerance))}

    def describe(self, batch: Batch, index: int) -> str:
        """Rows of fifty steps: values as bars from lowest to highest, and below them the marks."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        values, marks = batch.inputs[:length, index, 0], batch.inputs[:length, index, 1]
        lowest = -1.0 if self.options.variant == "1997" else 0.0
        return drawing(values, marks, lowest, float(batch.targets[index, 0]))
