"""The chart of horizon studies: a row a cell, T50 with its interval, every run, and the gradient horizon beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longlag import escape
from longlag.figure import figure, save
from longlag.horizons.measurements import CellMeasurements, HorizonMeasurements
from longlag.horizons.psi import Threshold

SOLVED, FAILED, GRADIENT = "#1f77b4", "#d62728", "#7f7f7f"
SPACE = 1.35  # how far the axis goes beyond the lags looked at, where censored values stand


def draw(studies: Sequence[HorizonMeasurements], path: Path) -> Path:
    """All studies side by side, as a PNG; returns its path.

    Args:
        studies: one panel each.
        path: of the picture.
    """
    rows = max(len(measurements.cells) for measurements in studies)
    made = figure(1.4 + 5.4 * len(studies), 1.9 + 0.42 * rows, dpi=120)
    for axes, measurements in zip(made.subplots(1, len(studies), squeeze=False)[0], studies, strict=True):
        _panel(axes, measurements)
    made.legend(
        handles=_legend(), loc="outside lower center", ncols=2 if len(studies) == 1 else 5, fontsize=8, frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(made, path)
    return path


def _panel(axes: Any, measurements: HorizonMeasurements) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    spec = measurements.spec
    ordered = measurements.by_horizon()
    for row, (cell, fit) in enumerate(reversed(ordered)):
        _row(axes, row, cell, fit, spec.shortest, spec.longest)
    axes.set_xscale("log")
    axes.set_xlim(spec.shortest / SPACE, spec.longest * SPACE)
    for end in (spec.shortest, spec.longest):
        axes.axvline(end, color="0.8", linewidth=0.8, zorder=0)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(ordered)), [escape.picture(cell.cell) for cell, _ in reversed(ordered)], fontsize=9)
    axes.set_ylim(-0.7, len(ordered) - 0.3)
    axes.set_xlabel(f"lag T (steps), {escape.picture(spec.lag)}", fontsize=9)
    updates = spec.stored_run().training.updates
    axes.set_title(
        f"{escape.picture(measurements.task)}: {updates:,} updates, about {spec.parameters:,} parameters", fontsize=10
    )
    axes.grid(True, axis="x", alpha=0.25)


def _row(axes: Any, row: int, cell: CellMeasurements, fit: Threshold, shortest: int, longest: int) -> None:
    """Runs below the line, the interval on it, the gradient horizon above."""
    bottom, top = shortest / SPACE**0.6, longest * SPACE**0.6
    runs = sorted(cell.counted, key=lambda run: (run.lag, not run.solved))
    lags = [run.lag for run in runs]
    apart = min(0.07, 0.5 / max(map(lags.count, lags), default=1))  # a column ends above the next row
    for place, run in enumerate(runs):
        colour = SOLVED if run.solved else FAILED
        height = row - 0.22 - apart * lags[:place].count(run.lag)
        face = colour if run.solved else "none"
        axes.scatter([run.lag], [height], s=9, facecolors=face, edgecolors=colour, linewidths=0.7, zorder=2)
    low, high = fit.low or bottom, fit.high or top
    axes.plot([low, high], [row, row], color="black", linewidth=2, zorder=3, solid_capstyle="butt")
    if fit.low is None:
        axes.plot([bottom], [row], marker="<", color="black", markersize=5, zorder=3)
    if fit.high is None:
        axes.plot([top], [row], marker=">", color="black", markersize=5, zorder=3)
    if fit.median is not None:
        axes.plot([fit.median], [row], marker="o", color="black", markersize=6, zorder=4)
    reach = cell.gradient_horizon()
    if reach is not None:
        steps, all_the_way = reach
        shown = min(max(steps, bottom), top)
        marker = ">" if all_the_way else "<" if steps < bottom else "D"
        axes.plot([shown], [row + 0.24], marker=marker, color=GRADIENT, markersize=5, linestyle="none", zorder=3)


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(marker: str, label: str, colour: str, line: Any = "none", **more: Any) -> Line2D:
        return Line2D([], [], marker=marker, linestyle=line, color=colour, label=label, markersize=5, **more)

    return [
        mark("o", "T50, 95% interval", "black", "-", linewidth=2),
        mark(">", "open: beyond the lags looked at", "black"),
        mark("o", "run that solved the task", SOLVED),
        mark("o", "run that did not", FAILED, markerfacecolor="none"),
        mark("D", "gradient horizon before training (▸ the whole way)", GRADIENT),
    ]
