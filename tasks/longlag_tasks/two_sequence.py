"""The two-sequence problem: which class did the first elements of a long noisy sequence show?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task

NOISE = 0.2
"""Variance of the inputs' noise."""

TARGET_NOISE = 0.1
"""3c: variance of the noise on the targets."""

ANSWERS = {"3a": (1.0, 0.0), "3b": (1.0, 0.0), "3c": (0.2, 0.8)}
"""The noise-free targets of class 1 (shown as +1) and class 2 (-1)."""

TOLERANCE = {"3a": 0.2, "3b": 0.2, "3c": 0.1}
"""An output nearer to its noise-free target than this is right."""

SOLVED_WRONG = {"3a": 1 / 256, "3b": 6 / 256, "3c": 1 / 256}
SOLVED_ERROR = {"3a": 0.01, "3b": 0.04, "3c": 0.015}
"""The published rules: a smaller share wrong, and a smaller mean absolute error (ST2)."""


class TwoSequenceOptions(Options):
    """Options of `TwoSequence`."""

    length: int = Field(100, ge=1, description="T, steps, the least: sequences have T ... T + floor(T/10)")
    informative: int = Field(3, ge=1, description="N, the elements at the beginning that show the class")
    variant: Literal["3a", "3b", "3c"] = Field(
        "3a",
        description="3a: noise after the first N elements; 3b: noise on them too; 3c: as 3a, with noise on the targets",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.informative > self.length:
            raise ValueError(f"informative should be at most the length, {self.length}, not {self.informative}")
        return self


class TwoSequence(Task[TwoSequenceOptions]):
    """Noise and signal on one channel: the first N elements are +1 (class 1) or -1 (class 2), all others noise.

    The classes have probability 1/2 each, the noise is i.i.d. normal with mean 0 and variance 0.2, and the length is
    uniform on ``T ... T + floor(T/10)``. After the last step:

    3a (default)
        target 1 for class 1, 0 for class 2 (Bengio, Simard and Frasconi 1994, with longer sequences).
    3b
        The same; the noise is added to the first N elements too. The class given all inputs is 1 with probability
        ``1 / (1 + exp(-10 (x_1 + ... + x_N)))``: the sign of the sum is the best guess, wrong for a share
        ``Phi(-sqrt(5N))`` of the sequences: 1.27% for N = 1, 0.005% for N = 3.
    3c
        As 3a, but targets 0.2 and 0.8 with normal noise of variance 0.1: their conditional mean is to be learned.

    Errors are measured against the noise-free target of the sequence's class. Hochreiter and Schmidhuber (1997),
    experiment 3. Shapes: inputs float32 ``[T, B, 1]``, targets float32 ``[B, 1]``; the loss is the mean squared error,
    which in 3c cannot fall below 0.1.
    """

    metrics = (
        Metric("absolute_error", "min", "units of the target", "mean distance from the noise-free target"),
        Metric("accuracy", "max", "share", "outputs less than 0.2 (3c: 0.1) from that target", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(1), 1, MappingKind.CLASSIFICATION, "mse")

    @property
    def criterion(self) -> str:
        variant = self.options.variant
        limit, count = SOLVED_ERROR[variant], SOLVED_WRONG[variant] * 256
        return f"absolute_error below {limit:g} and fewer than {count:g} of 256 wrong (accuracy)"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        variant = self.options.variant
        accurate = 1 - metrics["accuracy"] < SOLVED_WRONG[variant]
        return bool(accurate and metrics["absolute_error"] < SOLVED_ERROR[variant])

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        length, variant, shown = self.options.length, self.options.variant, self.options.informative
        steps = length + length // 10
        lengths = rng.integers(length, steps + 1, size)
        signs = 1 - 2 * rng.integers(0, 2, size)
        inputs = rng.standard_normal((steps, size), dtype=np.float32) * np.float32(NOISE**0.5)
        if variant == "3b":
            inputs[:shown] += signs
        else:
            inputs[:shown] = signs
        inputs[np.arange(steps)[:, None] >= lengths] = 0
        targets = self._answers(signs)
        if variant == "3c":
            targets = targets + rng.normal(0, TARGET_NOISE**0.5, size)
        return Batch(inputs[..., None], targets[:, None].astype(np.float32), lengths)

    def _answers(self, signs: Array) -> Array:
        """The noise-free targets of classes given by the sign they are shown with."""
        one, two = ANSWERS[self.options.variant]
        return np.where(signs > 0, one, two)

    def baseline(self) -> Baseline:
        one, two = ANSWERS[self.options.variant]
        return Baseline(abs(one - two) / 2, "always 0.5, between the classes", f"|{one:g} - {two:g}| / 2")

    def trivial(self, batch: Batch) -> Array:
        return np.full((batch.size, 1), 0.5, dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        """The class by the sign of the first N elements' sum: in 3b the median of the target, given the inputs."""
        total = batch.inputs[: self.options.informative, :, 0].sum(0, dtype=np.float64)
        return self._answers(total)[:, None].astype(np.float32)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        clean = batch.targets
        if self.options.variant == "3c":
            clean = self._answers(batch.inputs[0, :, 0])[:, None]
        errors = np.abs(outputs.astype(np.float64) - clean)
        right = errors < TOLERANCE[self.options.variant]
        return {"absolute_error": float(errors.mean()), "accuracy": float(right.mean())}

    def describe(self, batch: Batch, index: int) -> str:
        """The first elements, the rest in words, and the target."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        values = batch.inputs[:length, index, 0]
        head = " ".join(f"{value:+.3f}" for value in values[: min(12, length)])
        rest = f" ... ({length} steps)" if length > 12 else ""
        return f"inputs  {head}{rest}\ntarget  {float(batch.targets[index, 0]):.4f}"
