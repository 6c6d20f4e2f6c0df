"""Periodic generation: a wave out of nothing, for as long as it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Reals, Signature, Task


class PeriodicGenerationOptions(Options):
    """Options of `PeriodicGeneration`."""

    shape: Literal["cosine", "triangle", "rectangle"] = Field("cosine", description="the wave's form")
    period: int = Field(10, ge=2, description="F, steps")
    length: int = Field(100, ge=10, description="T, steps, the least: sequences have T ... T + floor(T/10)")
    tolerance: float = Field(0.3, gt=0, lt=0.5, description="solved when no error is as large")


class PeriodicGeneration(Task[PeriodicGenerationOptions]):
    """Generate a wave of period F from a silent input (always 0) and the initial state alone, without feedback.

    With ``m = t mod F`` at the steps t = 0, 1, ...:

    ==================  ===============================================
    cosine (default)    ``(1 - cos(2 pi t / F)) / 2``
    triangle            ``1 - 2m/F`` where ``m <= F/2``, else ``2m/F - 1``
    rectangle           0 where ``m <= F/2``, else 1
    ==================  ===============================================

    Gers, Schraudolph and Schmidhuber (2002), periodic function generation (PFG), F = 10 and 25; no teacher forcing.
    All sequences begin alike; the only thing drawn is where they end, uniform on ``T ... T + floor(T/10)``.

    Shapes: inputs float32 ``[T, B, 1]``, zeros; targets float32 ``[T, B, 1]``; the loss is the mean squared error over
    all steps that exist.
    """

    metrics = (
        Metric("mse", "min", "squared units of the wave", "mean over all steps"),
        Metric("largest_error", "min", "units of the wave", "largest absolute error of all steps"),
        Metric("rmse", "min", "units of the wave", "root of the mse"),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(1), 1, MappingKind.LABELLING, "mse")

    @property
    def criterion(self) -> str:
        return f"largest_error below {self.options.tolerance:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["largest_error"] < self.options.tolerance)

    def wave(self, steps: int) -> Array:
        """The first steps of the wave, float64."""
        times, period = np.arange(steps), self.options.period
        if self.options.shape == "cosine":
            wave: Array = (1 - np.cos(2 * np.pi * (times % period) / period)) / 2
        else:
            phase = 2 * (times % period) / period
            wave = np.abs(phase - 1) if self.options.shape == "triangle" else (phase > 1).astype(np.float64)
        return wave

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        length = self.options.length
        steps = length + length // 10
        lengths = rng.integers(length, steps + 1, size)
        inputs = np.zeros((steps, size, 1), dtype=np.float32)
        return Batch(inputs, inputs + self.wave(steps).astype(np.float32)[:, None, None], lengths)

    def _moments(self) -> tuple[float, float]:
        """Mean and variance of the wave over all steps of all sequences."""
        length, extra = self.options.length, self.options.length // 10
        chances = np.concatenate([np.ones(length), np.arange(extra, 0, -1) / (extra + 1)])  # that the step exists
        wave = self.wave(length + extra)
        mean = float(np.average(wave, weights=chances))
        return mean, float(np.average((wave - mean) ** 2, weights=chances))

    def baseline(self) -> Baseline:
        mean, variance = self._moments()
        return Baseline(
            variance,
            f"always {mean:.4f}, the wave's mean",
            "the variance of the wave over all steps, each weighted by the probability that a sequence reaches it; "
            "over whole periods: cosine 1/8, triangle about 1/12, rectangle about 1/4",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.full((batch.steps, batch.size, 1), self._moments()[0], dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        wave = self.wave(batch.steps).astype(np.float32)
        return np.tile(wave[:, None, None], (1, batch.size, 1))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        exists = batch.exists()
        errors = (outputs.astype(np.float64) - batch.targets)[..., 0]
        if exists is not None:
            errors = errors[exists]
        mse = float(np.mean(errors**2))
        return {"mse": mse, "largest_error": float(np.abs(errors).max()), "rmse": mse**0.5}

    def describe(self, batch: Batch, index: int) -> str:
        """The wave as bars in rows of fifty steps."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        levels = np.clip(batch.targets[:length, index, 0] * 8, 0, 7).astype(int)
        bars = "".join("▁▂▃▄▅▆▇█"[level] for level in levels)
        rows = [f"step {start:>6}  {bars[start : start + 50]}" for start in range(0, length, 50)]
        return "\n".join([*rows, f"steps   {length}", "inputs  none"])
