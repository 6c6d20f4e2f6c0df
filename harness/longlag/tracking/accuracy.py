"""Accuracy over the length of the sequences as a picture: of one run, or one line a cell with a band over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longlag import escape
from longlag.figure import figure, legend, save
from longlag.training import RunResult

LABEL = "share right"


def of_run(result: RunResult, path: Path) -> bool:
    """Draw one run's accuracy over length; False where it has none."""
    if not result.by_length:
        return False
    made = figure(9, 3.6, dpi=100)
    axes = made.subplots()
    lines(axes, {result.spec.cell.name: [result]})
    axes.set_title(f"{escape.picture(result.spec.task.name)}: accuracy by length, on the test splits", fontsize=10)
    save(made, path)
    return True


def lines(axes: Any, cells: Mapping[str, Sequence[RunResult]]) -> None:
    """One line for each label: the median over its runs, and a band from the least to the greatest.

    Runs of one label whose splits have other lengths than the first one's are left out.
    """
    from matplotlib import colormaps

    trained = set()
    for number, (label, runs) in enumerate(cells.items()):
        lengths = [x for x, _, _ in runs[0].by_length]
        values = np.array([[y for _, y, _ in r.by_length] for r in runs if [x for x, _, _ in r.by_length] == lengths])
        colour = colormaps["tab10"](number % 10)
        axes.plot(lengths, np.median(values, 0), color=colour, marker=".", linewidth=1.5, label=escape.picture(label))
        if len(values) > 1:
            axes.fill_between(lengths, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
        trained |= {run.spec.task.options.get("length") for run in runs}
    for length in trained - {None}:
        axes.axvline(length, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("length (steps; dotted: the longest in training)")
    axes.set_ylabel(LABEL)
    axes.grid(True, alpha=0.25)
    legend(axes, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
