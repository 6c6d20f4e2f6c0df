"""The pictures beside the curves: matplotlib, drawn to files, no window and no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.task import Answer, Array, Batch, Task

CURVES = 8
EXAMPLES = 4
HEATMAP_LAGS = 256
SMALLEST = 1e-300


def through_time(
    updates: Sequence[int],
    maps: Mapping[str, NDArray[np.float64]],
    path: Path,
    norm: str = "∂L",
    lines: bool = True,
    map: bool = True,
) -> None:
    """Gradient norms over the lag, one line an evaluation, and over training as a map: a row for each state.

    Every run draws some: places are given by hand, as finding them takes longer than the drawing.

    Args:
        updates: of the evaluations.
        maps: layer and state -> ``[evaluations, lags]``.
        path: of the PNG.
        norm: whose the norms are: ``∂L`` of the whole loss, ``∂ℓ_τ`` of the loss at one step.
        lines: whether there are lines.
        map: whether there is a map.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = 11.0 if lines else 5.5, 0.9 + 3.1 * len(maps)
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle("Gradient norm by lag, steps back from the last one that counts", fontsize=12 if lines else 10)

    def place(left: float, row: int, wide: float) -> Any:
        """Axes so many inches from the left, in a row counted from the top."""
        return figure.add_axes((left / width, (height - 3.1 * (row + 1)) / height, wide / width, 2.65 / height))

    for row, (name, values) in enumerate(maps.items()):
        shown = np.where(np.isfinite(values) & (values > SMALLEST), values, np.nan)
        label = f"‖{norm}/∂{name}‖"
        last = row == len(maps) - 1
        if lines:
            left = place(0.85, row, 4.5 if map else 9.9)
            _curves(left, label, updates, shown)
            left.set_xlabel("lag (steps)" if last else "")
        if map:
            right, bar = place(width - 4.75, row, 3.6), place(width - 1.05, row, 0.15)
            _map(figure, right, bar, label, updates, shown)
            right.set_xlabel("update" if last else "")
    figure.savefig(path, pil_kwargs={"compress_level": 3})


def predictions(task: Task, outputs: Array, answer: Answer | None, batch: Batch, path: Path) -> bool:
    """The first examples of a batch with what a model made of them, as the task draws them; False for no picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(batch.size, EXAMPLES)
    figure = Figure(figsize=(9, 0.4 + 2.2 * count), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    drawn = [task.draw(axis, outputs, answer, batch, index) for index, axis in enumerate(axes)]
    if not any(drawn):
        return False
    figure.suptitle(f"{type(task).__name__}: the first sequences of the test split", fontsize=12)
    figure.savefig(path)
    return True


def _curves(axis: Any, label: str, updates: Sequence[int], values: NDArray[np.float64]) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import NullLocator

    chosen = np.unique(np.linspace(0, len(updates) - 1, CURVES).round().astype(int))
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(chosen)))
    for row, colour in zip(chosen, colours, strict=True):
        axis.plot(np.arange(values.shape[1]), values[row], color=colour, linewidth=1.4, label=f"{updates[row]}")
    _lag_axis(axis.set_xscale, axis.xaxis, values.shape[1])
    axis.set_xlim(0, max(1, values.shape[1] - 1))
    if np.isfinite(values).any():
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylabel(label)
    axis.grid(True, which="major", alpha=0.25)
    axis.legend(title="update", fontsize=7, title_fontsize=7, loc="best")


def _map(figure: Any, axis: Any, bar: Any, label: str, updates: Sequence[int], values: NDArray[np.float64]) -> None:
    lags = np.arange(values.shape[1])
    if len(lags) > HEATMAP_LAGS:
        lags = np.unique(np.geomspace(1, len(lags), HEATMAP_LAGS).round().astype(int)) - 1
    if len(updates) < 2 or len(lags) < 2 or not np.isfinite(values).any():
        axis.text(0.5, 0.5, "too few measurements for a map", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        bar.set_axis_off()
        return
    drawn = np.log10(values[:, lags]).T
    mesh = axis.pcolormesh(np.asarray(updates), lags, drawn, shading="nearest", cmap="viridis", rasterized=True)
    _lag_axis(axis.set_yscale, axis.yaxis, values.shape[1])
    axis.set_ylim(0, lags[-1])
    axis.set_facecolor("0.85")  # zero or not finite
    axis.set_ylabel("lag (steps)")
    figure.colorbar(mesh, cax=bar, label=f"log10 {label}")


def _lag_axis(set_scale: Any, axis: Any, lags: int) -> None:
    """Logarithmic, with a place for lag 0; few lags need no logarithm."""
    from matplotlib.ticker import NullLocator, ScalarFormatter, SymmetricalLogLocator

    if lags > 30:
        set_scale("symlog", linthresh=1, linscale=0.3)
        axis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 2, 5) if lags < 500 else (1,)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
