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

    Every run draws some, and what they take is most of what logging costs: places are given by hand, ticks are few
    and their labels plain text, and there is one legend, since all of that takes longer than the drawing.

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
            left = place(1.05, row, 4.3 if map else 9.7)
            _curves(left, label, updates, shown)
            if not row:
                left.legend(title="update", fontsize=7, title_fontsize=7, loc="lower left")
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
    # one after the other: most tasks have no picture, and axes cost every run of theirs more than all else here
    for index in range(count):
        if not task.draw(figure.add_subplot(count, 1, index + 1), outputs, answer, batch, index):
            return False
    figure.suptitle(f"{type(task).__name__}: the first sequences of the test split", fontsize=12)
    figure.savefig(path)
    return True


def _curves(axis: Any, label: str, updates: Sequence[int], values: NDArray[np.float64]) -> None:
    from matplotlib import colormaps

    chosen = np.unique(np.linspace(0, len(updates) - 1, CURVES).round().astype(int))
    colours = colormaps["viridis"](np.linspace(0, 0.92, len(chosen)))
    for row, colour in zip(chosen, colours, strict=True):
        axis.plot(np.arange(values.shape[1]), values[row], color=colour, linewidth=1.4, label=f"{updates[row]}")
    _lag_axis(axis.set_xscale, axis.xaxis, values.shape[1])
    axis.set_xlim(0, max(1, values.shape[1] - 1))
    if np.isfinite(values).any():
        axis.set_yscale("log")
        _plain(axis.yaxis)
    axis.set_ylabel(label)
    axis.grid(True, which="major", alpha=0.25)


def _map(figure: Any, axis: Any, bar: Any, label: str, updates: Sequence[int], values: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

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
    figure.colorbar(mesh, cax=bar, label=f"log10 {label}", ticks=MaxNLocator(5))


def _plain(axis: Any) -> None:
    """Labels such as 1e-12: without the typesetting of exponents, a tenth of a picture's time."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    axis.set_minor_locator(NullLocator())


def _lag_axis(set_scale: Any, axis: Any, lags: int) -> None:
    """Logarithmic, with a place for lag 0; few lags need no logarithm."""
    from matplotlib.ticker import NullLocator, ScalarFormatter, SymmetricalLogLocator

    if lags > 30:
        set_scale("symlog", linthresh=1, linscale=0.3)
        axis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=(1, 3) if lags < 500 else (1,)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
