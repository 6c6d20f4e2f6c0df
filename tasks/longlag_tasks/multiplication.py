"""The multiplication problem: the product of two marked numbers in a long sequence of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task
from longlag_tasks._marks import FIRST_PAIRS, MINIMUM, draw_1997, draw_pascanu, drawing
from longlag_tasks._options import year_as_text

TOLERANCE = {"1997": 0.04, "pascanu": 0.2}
"""The largest absolute error of an answer that counts as right; pascanu: a squared error of 0.04."""

SOLVED_ACCURACY = {"1997": 1 - 13 / 2000, "pascanu": 0.99}
"""1997: fewer than 13 of 2000 wrong; pascanu: fewer than 1% wrong."""


class MultiplicationOptions(Options):
    """Options of `Multiplication`."""

    length: int = Field(100, description="T, steps, the least: 1997: T ... T + floor(T/10); pascanu: one less at most")
    variant: Literal["1997", "pascanu"] = Field(
        "1997",
        description="1997: experiment 5 of Hochreiter and Schmidhuber; pascanu: marks in the first tenth and the "
        "next four tenths (Pascanu et al. 2013)",
    )
    solved_accuracy: float | None = Field(
        None, gt=0, le=1, description="solved when a larger share is right; none: 0.9935 (1997), 0.99 (pascanu)"
    )

    @field_validator("variant", mode="before")
    @classmethod
    def _year(cls, value: Any) -> Any:
        return year_as_text(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        least = MINIMUM[self.variant]
        if self.length < least:
            reason = "ten pairs to mark and a final one" if self.variant == "1997" else "a first tenth to mark"
            raise ValueError(
                f"length should be at least {least} for the variant {self.variant!r} ({reason}), not {self.length}"
            )
        return self


class Multiplication(Task[MultiplicationOptions]):
    """Two channels, values ``v_t`` and marks ``m_t``; after the last step, the product of the two marked values.

    Values are uniform on ``[0, 1)`` and the target is ``y = X1 X2``: unlike a sum, it is nothing that an integrating
    cell gets for free. Variants (steps t = 0 ...):

    1997 (default)
        Lengths and marks of the adding problem of 1997: the length is uniform on ``T ... T + floor(T/10)``, the
        first mark on pairs 0 ... 9, the second on the first ``K = floor(T/2) - 1`` pairs that are still unmarked;
        ``m_t = 1`` at both, -1 at the first and the final pair, else 0. A mark on the first pair is covered by its
        -1, and its value counts as 1. Hochreiter and Schmidhuber (1997), experiment 5.
    pascanu
        The length l is uniform on ``T ... T + floor(T/10) - 1``; one mark in the first ``floor(l/10)`` steps, one in
        the next ``floor(2l/5)``; ``m_t`` is 1 at both, else 0. Pascanu, Mikolov and Bengio (2013).

    The 1997 paper sets X1 to one where the first pair is marked and does not say what a *second* mark there does
    (probability 9/(10K)). Here X2 is then one likewise.

    Shapes: inputs float32 ``[T, B, 2]``, targets float32 ``[B, 1]``; the loss is the mean squared error.
    """

    metrics = (
        Metric("mse", "min", "squared units of the target", "mean squared error"),
        Metric("accuracy", "max", "share", "outputs at most 0.04 (pascanu: 0.2) from their target", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(2), 1, MappingKind.CLASSIFICATION, "mse")

    @property
    def _share(self) -> float:
        share = self.options.solved_accuracy
        return float(SOLVED_ACCURACY[self.options.variant] if share is None else share)

    @property
    def criterion(self) -> str:
        tolerance = TOLERANCE[self.options.variant]
        return f"accuracy (error of at most {tolerance:g}) of at least {self._share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["accuracy"] >= self._share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        if self.options.variant == "1997":
            drawn = draw_1997(rng, self.options.length, size, lowest=0, covered=1)
        else:
            drawn = draw_pascanu(rng, self.options.length, size)
        targets = (drawn.first * drawn.second)[:, None].astype(np.float32)
        return Batch(drawn.inputs, targets, drawn.lengths)

    def _covered(self) -> float:
        """The probability that one of the two marks is covered."""
        if self.options.variant == "pascanu":
            return 0.0
        candidates = int(self.options.length) // 2 - 1
        return 1 / FIRST_PAIRS + (1 - 1 / FIRST_PAIRS) / candidates

    def _mean(self) -> float:
        return 1 / 4 + self._covered() / 4

    def baseline(self) -> Baseline:
        covered, mean = self._covered(), self._mean()
        value = covered / 3 + (1 - covered) / 9 - mean**2
        if self.options.variant == "pascanu":
            return Baseline(value, "always 1/4, the mean of the target", "Var(X1 X2) = 1/9 - 1/16 = 7/144")
        return Baseline(
            value,
            f"always {mean:.4f}, the mean of the target",
            "q/3 + (1 - q)/9 - (1/4 + q/4)^2, q = 1/10 + 9/(10K), K = floor(T/2) - 1",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.full((batch.size, 1), self._mean(), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
        product: Array = np.where(marks == 1, values, 1).prod(0, dtype=np.float64)
        return product[:, None].astype(np.float32)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        errors = outputs.astype(np.float64) - batch.targets
        right = np.abs(errors) <= TOLERANCE[self.options.variant]
        return {"mse": float(np.mean(errors**2)), "accuracy": float(np.mean(right))}

    def describe(self, batch: Batch, index: int) -> str:
        """Rows of fifty steps: values as bars from 0 to 1, and below them the marks."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        values, marks = batch.inputs[:length, index, 0], batch.inputs[:length, index, 1]
        return drawing(values, marks, 0.0, float(batch.targets[index, 0]))
