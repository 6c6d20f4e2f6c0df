"""A figure of matplotlib without a window or global state, and how it is written to files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def figure(width: float, height: float, dpi: int) -> Any:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(made)
    return made


def literal(made: Any) -> None:
    """Show titles, labels and legends as they are: matplotlib reads ``$…$`` in them as LaTeX."""
    for axes in made.axes:
        legend = axes.get_legend()
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *(legend.get_texts() if legend else ())]
        for text in texts:
            text.set_parse_math(False)


def legend(axes: Any, **how: Any) -> None:
    """A legend, unless there is nothing to explain."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**how)


def save(made: Any, *paths: Path) -> None:
    """Write a figure to each path, in the format that its ending says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a sign that the font does not have is a box
        warnings.filterwarnings("ignore", message="constrained_layout not applied")  # long names leave no room
        for path in paths:
            made.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
            made.set_layout_engine("none")  # of the first format, and as it is: a layout takes as long as the drawing
