"""Pictures of gradient flow: matplotlib, drawn to files, no window and no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longlag import escape
from longlag.figure import figure, legend, save
from longlag.probes.flow import Values
from longlag.probes.scalars import underflow

STYLES = ("-", "--", "-.", ":")
COLOURS = 10
BOTTOM, TOP = 1e-300, 1e300
"""Stand for zero and infinity where an axis is logarithmic."""


@dataclass(frozen=True)
class Line:
    """One line of a picture.

    Args:
        label: for the legend.
        seeds: the norms by lag, one array a seed.
        colour: number of the colour; lines of one cell share it.
        style: number of the dashes.
    """

    label: str
    seeds: Sequence[Values]
    colour: int = 0
    style: int = 0


def rows(seeds: Sequence[Values]) -> Values:
    """The norms over that at lag 0, ``[seeds, L]``, as far as the shortest goes.

    A run that diverged may have no number at any lag: it is left out.
    """
    known = [values for values in seeds if len(values)]
    length = min(map(len, known), default=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array([values[:length] / values[0] for values in known]).reshape(len(known), length)


def relative(seeds: Sequence[Values]) -> tuple[Values, Values, Values]:
    """Median, least and greatest over seeds of `rows`, ``[L]``."""
    values = rows(seeds)
    return np.median(values, 0), values.min(0), values.max(0)


def flow(lines: Sequence[Line], path: Path, title: str, ylabel: str, floor: float) -> None:
    """Norms over the lag, relative to lag 0: the median over seeds, a band from the least to the greatest.

    A line that underflows to zero ends in a cross.

    Args:
        lines: what is drawn.
        path: of the PNG.
        title: above the picture.
        ylabel: what the norm is of.
        floor: where the logarithmic axis ends at the latest; what is below is cut off.
    """
    made = figure(9, 5.2, dpi=120)
    axes = made.subplots()
    by_lag(axes, lines, ylabel, floor)
    axes.set_title(escape.picture(title), fontsize=10)
    legend(axes, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(made, path)


def by_lag(axes: Any, lines: Sequence[Line], ylabel: str, floor: float) -> None:
    """The lines of `flow` into given axes."""
    ends = [_line(axes, line) for line in lines]
    axes.set_yscale("log")
    axes.set_ylim(max(floor, 0.3 * min(low for low, _ in ends)), 3 * max(high for _, high in ends))
    axes.set_xlim(left=0)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("lag k (steps back)")
    axes.set_ylabel(ylabel)
    axes.grid(True, alpha=0.25)


def _line(axes: Any, line: Line) -> tuple[float, float]:
    """Draw one line; returns its least value that is not zero, and its greatest."""
    values = rows(line.seeds)
    if not values.size:
        return 1.0, 1.0
    middle = np.median(values, 0)
    band(axes, np.arange(len(middle)), values, line.label, line.colour, line.style)
    zero, drawn = underflow(middle), _positive(middle)
    if zero:
        axes.plot([zero - 1], [middle[zero - 1]], marker="x", color=_colour(line.colour), markersize=8)
    return (float(np.nanmin(drawn)), float(np.nanmax(drawn))) if np.isfinite(drawn).any() else (1.0, 1.0)


def band(axes: Any, x: Values | NDArray[np.int64], values: Values, label: str, colour: int, style: int = 0) -> None:
    """The median of ``values [seeds, N]`` over the seeds, and a band from the least to the greatest.

    For a logarithmic axis: where the median is zero or infinite there is no line; the band continues to the edge.
    """
    axes.plot(x, _positive(np.median(values, 0)), STYLES[style % len(STYLES)], color=_colour(colour), linewidth=1.5,
              label=escape.picture(label))  # fmt: skip
    if len(values) > 1:
        low, high = np.maximum(values.min(0), BOTTOM), np.minimum(values.max(0), TOP)
        axes.fill_between(x, low, high, color=_colour(colour), alpha=0.18, linewidth=0)


def _positive(values: Values) -> Values:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _colour(number: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"](number % COLOURS)


def scatter(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, bool]]]], path: Path, title: str, ylabel: str
) -> None:
    """Points by panel and cell, each with x, y and whether it is filled; y that is infinite stands at the top."""
    made = figure(0.8 + 4.6 * len(panels), 4.2, dpi=120)
    made.suptitle(f"{escape.picture(title)} (filled: solved)", fontsize=10)
    for place, (axes, (name, cells)) in enumerate(
        zip(made.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items(), strict=True)
    ):
        finite = [y for points in cells.values() for _, y, _ in points if np.isfinite(y)]
        ceiling = min(1.3 * max(finite, default=1.0), TOP)
        for number, (cell, points) in enumerate(cells.items()):
            _points(axes, cell, points, number, ceiling)
        if finite and min(finite) > 0:
            axes.set_yscale("log")
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel(name, fontsize=9)
        axes.grid(True, alpha=0.25)
        if not place:
            axes.set_ylabel(ylabel, fontsize=9)
            legend(axes, fontsize=7)
    save(made, path)


def _points(axes: Any, cell: str, points: Sequence[tuple[float, float, bool]], number: int, ceiling: float) -> None:
    colour = _colour(number)
    x = [point[0] for point in points]
    y = [point[1] if np.isfinite(point[1]) else ceiling for point in points]
    faces = [colour if point[2] else "none" for point in points]
    axes.scatter(
        x, y, facecolors=faces, edgecolors=[colour] * len(points), label=escape.picture(cell), s=28, linewidths=1.2
    )
