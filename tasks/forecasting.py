"""Forecasting: a chaotic or a recorded series, some steps ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from harness.task import Array, Baseline, Batch, DataError, MappingKind, Metric, Reals, Signature, Task
from tasks._local import LocalOptions, local
from tasks._mackey import mackey_glass
from tasks._series import column_of, packaged
from tasks._windows import Windows


class ForecastingOptions(LocalOptions):
    """Options of `Forecasting`."""

    series: Literal["mackey-glass", "sunspots", "co2"] = Field(
        "mackey-glass",
        description="mackey-glass: generated, one sample a unit of time; sunspots (yearly) and co2 (weekly): the "
        "recordings in the package statsmodels (extra series)",
    )
    path: str | None = Field(None, description="a CSV file with a header instead, one value a line")
    column: str | None = Field(None, description="path: the column's name; none: the last one")
    horizon: int = Field(6, ge=1, description="k, steps ahead")
    changes: bool | None = Field(
        None,
        description="whether inputs are x_t - x_(t-1) and targets x_(t+k) - x_t, for series whose level only rises; "
        "none: for co2",
    )
    length: int = Field(60, ge=2, description="T, steps of a window")
    warmup: int = Field(20, ge=0, description="first steps of a window, whose forecasts do not count")
    held_out: float = Field(0.2, gt=0, lt=1, description="share at the end: half for validation, then half to test")
    samples: int = Field(10_000, ge=100, description="mackey-glass: length of the series, 1000 at the start left out")
    tau: int = Field(17, ge=1, description="mackey-glass: delay, units of time")
    solved_ratio: float = Field(
        0.1, gt=0, description="solved when the squared error is at most so large a share of that of persistence"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup >= self.length:
            raise ValueError(f"warmup should be below the length, {self.length}, not {self.warmup}")
        if self.path is not None and "series" in self.model_fields_set and self.series != "mackey-glass":
            raise ValueError("path: takes the place of the series: leave out one of them")
        if self.path is None and self.column is not None:
            raise ValueError("column: of the file at path, which is missing")
        return self


@dataclass(frozen=True)
class Prepared:
    """A series ready to be cut: inputs and targets by the time of the input, in units of the training part.

    Args:
        inputs: float32 ``[N]``.
        targets: float32 ``[N - k]``, that of step t due at ``t + k``.
        persistence: float32 ``[N - k]``, targets if nothing changed from t on.
        windows: where to cut.
        scale: units of the series in one of the targets.
        shift: their zero, in units of the series.
    """

    inputs: Array
    targets: Array
    persistence: Array
    windows: Windows
    scale: float
    shift: float


class Forecasting(Task):
    """A series value by value; at every step, what will it be k steps later?

    ``mackey-glass`` (default) is the chaotic equation ``dx/dt = 0.2 x(t-17) / (1 + x(t-17)^10) - 0.1 x(t)``, from
    ``x = 1.2``, one sample a unit of time. Splits follow in time: training, validation, test. Mean and standard
    deviation are those of the training part.

    Shapes: inputs and targets float32 ``[T, B, 1]``; the loss is the mean squared error over the steps that count, in
    training variances of the target, so that always saying its mean scores about 1.
    """

    Options = ForecastingOptions
    hindsight = True
    metrics = (
        Metric("mse", "min", "variances of the training targets", "mean squared error"),
        Metric("persistence_ratio", "min", "share", "of the squared error of saying that nothing will change"),
        Metric("rmse", "min", "units of the series", "root mean squared error"),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Reals(1), 1, MappingKind.LABELLING, "mse")

    @property
    def criterion(self) -> str:
        return f"persistence_ratio of at most {self.options.solved_ratio:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["persistence_ratio"] <= self.options.solved_ratio)

    @cached_property
    def _prepared(self) -> Prepared:
        options = self.options
        name, series = options.path or options.series, self._series()
        windows = Windows(len(series), options.length, options.horizon, options.warmup, options.held_out, name)
        k = options.horizon
        inputs, targets = series, series[k:]
        if options.series == "co2" and options.path is None if options.changes is None else options.changes:
            inputs, targets = np.diff(series, prepend=series[0]), series[k:] - series[:-k]
        seen = targets[: windows.training - k]
        shift, scale = float(seen.mean()), float(seen.std())
        spread = float(inputs[: windows.training].std())
        if not (scale > 0 and spread > 0):
            raise DataError(f"{name}: is constant over the {windows.training} values of its training part")
        centred = inputs - inputs[: windows.training].mean()
        still = series[:-k] if inputs is series else np.zeros(len(series) - k)
        return Prepared(
            (centred / spread).astype(np.float32),
            ((targets - shift) / scale).astype(np.float32),
            ((still - shift) / scale).astype(np.float32),
            windows,
            scale,
            shift,
        )

    def _series(self) -> Array:
        options = self.options
        if options.path is not None:
            return column_of(str(local(options)[0]), options.column)
        if options.series == "mackey-glass":
            return mackey_glass(options.samples, options.tau)
        return packaged(options.series)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        windows = self._prepared.windows
        return self._cut(windows.draw(rng, size), windows.counted(size))

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        return self._cut(*self._prepared.windows.fixed(name, size))

    def _cut(self, starts: Array, counted: Array | None) -> Batch:
        steps = self._prepared.windows.steps(starts)
        return Batch(self._prepared.inputs[steps, None], self._prepared.targets[steps, None], counted=counted)

    def baseline(self) -> Baseline:
        prepared = self._prepared
        weights, k = prepared.windows.weights(), self.options.horizon
        squares = prepared.targets[: prepared.windows.training - k].astype(np.float64) ** 2
        return Baseline(
            float(np.sum(weights[k:] * squares)),
            "always the mean of the training targets",
            "their variance, 1, but for the first and last ones, which fewer windows count; computed from the series",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.zeros(batch.targets.shape, np.float32)

    def oracle(self, batch: Batch) -> Array:
        """From the targets: no law foretells a recording."""
        return batch.targets

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        counted = np.ones(batch.targets.shape[:2], bool) if batch.counted is None else batch.counted
        wanted = batch.targets[counted].astype(np.float64)
        mse = float(np.mean((outputs[counted] - wanted) ** 2))
        still = float(np.mean((self._persistence(batch)[counted] - wanted) ** 2))
        return {
            "mse": mse,
            "persistence_ratio": mse / max(still, 1e-12),
            "rmse": mse**0.5 * self._prepared.scale,
        }

    def _persistence(self, batch: Batch) -> Array:
        """What is forecast from the inputs by one who holds that nothing will change, ``[T, B, 1]``."""
        prepared = self._prepared
        if not self._changes:
            return prepared.still_of(batch.inputs)
        return np.full(batch.targets.shape, -prepared.shift / prepared.scale)
