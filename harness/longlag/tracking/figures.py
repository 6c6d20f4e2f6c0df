"""The pictures beside the curves: of gradient flow as SVG text, of what a task draws by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longlag.figure import figure, literal, save
from longlag.task import Answer, Array, Batch, Task
from longlag.tracking import svg
from longlag.tracking.lags import lags as chosen_lags

CURVES = 8
EXAMPLES = 4
LINE_LAGS = 256
ROW, PLOT = 310, 260  # pixels from one state to the next, and the height of its axes
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

    Args:
        updates: of the evaluations.
        maps: layer and state -> ``[evaluations, lags]``.
        path: of the SVG.
        norm: whose the norms are: ``∂L`` of the whole loss, ``∂ℓ_τ`` of the loss at one step.
        lines: whether there are lines.
        map: whether there is a map.
    """
    width, parts = 1100 if lines else 550, []
    for row, (name, values) in enumerate(maps.items()):
        shown = np.where(np.isfinite(values) & (values > SMALLEST), values, np.nan)
        label, top, last = f"‖{norm}/∂{name}‖", 45 + ROW * row, row == len(maps) - 1
        if lines:
            across = 430 if map else 970
            parts += _curves(top, across, label, updates, shown, "lag (steps)" if last else "", not row)
        if map:
            parts += _map(width - 475, top, label, updates, shown, "update" if last else "")
    title = "Gradient norm by lag, steps back from the last one that counts"
    path.write_text(svg.page(width, 90 + ROW * len(maps), title, parts), encoding="utf-8")


def predictions(task: Task, outputs: Array, answer: Answer | None, batch: Batch, path: Path) -> bool:
    """The first examples of a batch with what a model made of them, as the task draws them; False for no picture."""
    if not task.drawn:
        return False
    count = min(batch.size, EXAMPLES)
    made = figure(9, 0.4 + 2.2 * count, dpi=100)
    # one after the other: the first tells a task that has no picture after all
    for index in range(count):
        if not task.draw(made.add_subplot(count, 1, index + 1), outputs, answer, batch, index):
            return False
    made.suptitle(f"{type(task).__name__}: the first sequences of the test split", fontsize=12)
    literal(made)
    save(made, path)
    return True


def _curves(
    top: float,
    width: float,
    label: str,
    updates: Sequence[int],
    values: NDArray[np.float64],
    across: str,
    legend: bool,
) -> list[str]:
    """Some of the rows of ``[evaluations, lags]`` as lines."""
    lags = chosen_lags(values.shape[1], LINE_LAGS)
    chosen = np.unique(np.linspace(0, len(updates) - 1, CURVES).round().astype(int))
    drawn = values[chosen][:, lags]
    some = np.isfinite(drawn).any()
    up = svg.logarithmic(np.nanmin(drawn), np.nanmax(drawn)) if some else svg.linear(0, 1)
    frame = svg.Frame(105, top, width, PLOT, svg.lags(values.shape[1]), up)
    inks = [f"#{bytes(colour).hex()}" for colour in svg.palette()[np.linspace(0, 234, len(chosen)).astype(int)]]
    parts = [frame.axes(across, label, grid=True)]
    parts += [frame.line(lags.astype(float), row, ink) for row, ink in zip(drawn, inks, strict=True)]
    names = [str(updates[row]) for row in chosen]
    return [*parts, frame.legend("update", list(zip(names, inks, strict=True)))] if legend else parts


def _map(
    left: float, top: float, label: str, updates: Sequence[int], values: NDArray[np.float64], across: str
) -> list[str]:
    """``[evaluations, lags]`` as colours, and what they mean."""
    count = values.shape[1]
    frame = svg.Frame(left, top, 360, PLOT, svg.linear(updates[0], updates[-1]), svg.lags(count))
    if len(updates) < 2 or count < 2 or not np.isfinite(values).any():
        return [frame.note("too few measurements for a map")]
    lags = chosen_lags(count, LINE_LAGS)
    drawn = np.log10(values[:, lags])
    scale = svg.linear(np.nanmin(drawn), np.nanmax(drawn))
    bar = svg.Frame(left + 370, top, 15, PLOT, svg.Scale(0, 1, [], lambda v: v, lambda v: v), scale)
    ramp = np.arange(254, -1, -1, dtype=np.uint8)[:, None]
    shown = frame.map(np.asarray(updates, dtype=float), lags.astype(float), drawn)
    return [shown, frame.axes(across, "lag (steps)"), bar.image(ramp), bar.axes(up=f"log10 {label}", right=True)]
