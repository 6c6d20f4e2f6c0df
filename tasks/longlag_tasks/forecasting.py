"""Forecasting: a chaotic or a recorded series, some steps ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Answer, Array, Baseline, Batch, DataError, MappingKind, Metric, Package, Reals, Signature, Task
from longlag_tasks._local import LocalOptions, local
from longlag_tasks._mackey import mackey_glass
from longlag_tasks._packages import STATSMODELS
from longlag_tasks._series import PACKAGED, column_of, packaged
from longlag_tasks._windows import Windows


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
    samples: int = Field(
        10_000, ge=100, le=10**8, description="mackey-glass: length of the series, 1000 at the start left out"
    )
    tau: int = Field(17, ge=1, le=10**6, description="mackey-glass: delay, units of time")
    solved_ratio: float = Field(
        0.001, gt=0, description="solved when the squared error is at most so large a share of that of persistence"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.warmup >= self.length:
            raise ValueError(f"warmup should be below the length, {self.length}, not {self.warmup}")
        if self.path is not None and self.changed("series", "samples", "tau"):
            raise ValueError("series, samples and tau are for what longlag brings: leave them out beside a path")
        if self.series != "mackey-glass" and self.changed("samples", "tau"):
            raise ValueError(f"samples and tau are for mackey-glass, not {self.series}")
        if self.path is None and self.column is not None:
            raise ValueError("column: of the file at path, which is missing")
        return self


@dataclass(frozen=True)
class Prepared:
    """A series ready to be cut, by the time of the input.

    Args:
        inputs: float32 ``[N]``, with mean 0 and standard deviation 1 over the training part.
        targets: float32 ``[N - k]``, likewise; that of step t is due at ``t + k``.
        windows: where to cut.
        changes: whether they are changes.
        read: mean and standard deviation of the inputs, in units of the series.
        due: those of the targets.
    """

    inputs: Array
    targets: Array
    windows: Windows
    changes: bool
    read: tuple[float, float]
    due: tuple[float, float]

    def persistence(self, inputs: Array) -> Array:
        """The targets if nothing changed from each input on, in its shape."""
        (centre, spread), (shift, scale) = self.read, self.due
        still: Array = np.zeros(inputs.shape) if self.changes else inputs * spread + centre
        return (still - shift) / scale


class Forecasting(Task[ForecastingOptions]):
    """A series value by value; at every step, what will it be k steps later?

    ``mackey-glass`` (default) is the chaotic equation ``dx/dt = 0.2 x(t-17) / (1 + x(t-17)^10) - 0.1 x(t)``, from
    ``x = 1.2``, one sample a unit of time. Splits follow in time: training, validation, test. Mean and standard
    deviation are those of the training part.

    Shapes: inputs and targets float32 ``[T, B, 1]``; the loss is the mean squared error over the steps that count, in
    training variances of the target, so that always saying its mean scores about 1.
    """

    hindsight = True
    metrics = (
        Metric("mse", "min", "variances of the training targets", "mean squared error"),
        Metric("persistence_ratio", "min", "share", "of the squared error of saying that nothing will change"),
        Metric("rmse", "min", "units of the series", "root mean squared error"),
    )

    @property
    def needs(self) -> tuple[Package, ...]:
        return (STATSMODELS,) if self.options.path is None and self.options.series in PACKAGED else ()

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
        name, series, k = options.path or options.series, self._series(), options.horizon
        windows = Windows(len(series), options.length, k, options.warmup, options.held_out, name)
        changes = options.changes
        if changes is None:
            changes = options.series == "co2" and options.path is None
        inputs = np.diff(series, prepend=series[0]) if changes else series
        targets = series[k:] - series[:-k] if changes else series[k:]
        read, due = _moments(inputs[: windows.training]), _moments(targets[: windows.training - k])
        if not (read[1] > 0 and due[1] > 0):
            raise DataError(f"{name}: never changes in the {windows.training} values of its training part")

        def scaled(values: Array, moments: tuple[float, float]) -> Array:
            return ((values - moments[0]) / moments[1]).astype(np.float32)

        return Prepared(scaled(inputs, read), scaled(targets, due), windows, changes, read, due)

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
        still = float(np.mean((self._prepared.persistence(batch.inputs)[counted] - wanted) ** 2))
        return {
            "mse": mse,
            "persistence_ratio": mse / max(still, 1e-12),
            "rmse": mse**0.5 * self._prepared.due[1],
        }

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        shift, scale = self._prepared.due
        last = batch.targets[-1, :, 0] * scale + shift
        said = outputs[-1, :, 0] * scale + shift
        what = "change to come" if self._prepared.changes else "value to come"
        return {f"{what} after the last step": last.round(3).tolist(), "forecast": said.round(3).tolist()}

    def draw(self, axes: Any, outputs: Array, answer: Answer | None, batch: Batch, index: int) -> bool:
        shift, scale = self._prepared.due
        still = self._prepared.persistence(batch.inputs[:, index, 0])
        lines = {"target": batch.targets[:, index, 0], "forecast": outputs[:, index, 0], "persistence": still}
        for name, values in lines.items():
            axes.plot(values * scale + shift, label=name, linestyle=":" if name == "persistence" else "-")
        if batch.counted is not None:
            axes.axvspan(-0.5, int(batch.counted[:, index].argmax()) - 0.5, color="0.9", label="does not count")
        axes.legend(loc="upper right", fontsize="small")
        axes.set_xlabel(f"step; due {self.options.horizon} later")
        return True

    def describe(self, batch: Batch, index: int) -> str:
        """Rows of sixty steps as bars: what is read, and below what is due k steps later."""
        rows = []
        for start in range(0, batch.steps, 60):
            for name, values in (("read", batch.inputs), ("due", batch.targets)):
                shown = np.clip(values[start : start + 60, index, 0] * 2 + 4, 0, 7).astype(int)
                rows.append(f"step {start:>6}  {name:4}  {''.join('▁▂▃▄▅▆▇█'[level] for level in shown)}")
        shift, scale = self._prepared.due
        due = float(batch.targets[-1, index, 0]) * scale + shift
        kind = "change" if self._prepared.changes else "value"
        return "\n".join([*rows, f"last target  {due:.4g}, the {kind} {self.options.horizon} steps later"])


def _moments(values: Array) -> tuple[float, float]:
    return float(values.mean()), float(values.std())
