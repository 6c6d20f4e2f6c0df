"""The pictures of a report: learning curves with bands, success over a parameter, gradient flow. Matplotlib, to PNG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from longlag import escape
from longlag.figure import figure, legend, save
from longlag.papers.intervals import rate_interval
from longlag.papers.measurements import PaperMeasurements, PaperRun
from longlag.papers.spec import PaperSpec
from longlag.parts import Parts

COLUMNS = 3
FLOOR, CEILING = 1e-6, 1e2
VANISHED = 1e-12
"""Gradient ratios below it run out of the picture."""
Drawer = Callable[[Any, Sequence[str]], None]


def draw(paper: PaperSpec, measurements: PaperMeasurements, folder: Path, prefix: str, parts: Parts) -> dict[str, str]:
    """Every picture that there is something to show in; title -> file name. `parts` makes each."""
    result = {}
    for title, name, picture in (
        ("Learning curves", "learning", _learning),
        (f"Success over {paper.parameter}", "success", _success),
        ("Gradient flow", "gradient", _gradient),
    ):
        file = f"{prefix}-{name}.png"
        if parts.make(f"the picture {file}", partial(picture, paper, measurements, folder / file)):
            result[title] = file
    return result


def panels(paper: PaperSpec, measurements: PaperMeasurements) -> dict[str, list[str]]:
    """Arms by what they are compared on: their task, in words."""
    result: dict[str, list[str]] = {}
    scale = paper.scales[measurements.scale]
    for arm in dict.fromkeys(run.arm for run in measurements.runs):
        task = paper.fields(arm, scale)["task"]  # as the study's file has it: the task itself may not be installed
        options = {"name": task} if isinstance(task, str) else dict(task)
        name = options.pop("name")
        options_text = ", ".join(
            f"{key} {value}" for key, value in options.items() if value is not None and not key.startswith("solved")
        )
        result.setdefault(f"{name}{f': {options_text}' if options_text else ''}", []).append(arm)
    return result


def colours(paper: PaperSpec, arms: Sequence[str]) -> dict[str, Any]:
    """By arm; the arms of a series, or of one label, share theirs."""
    from matplotlib import colormaps

    names = list(dict.fromkeys(label(paper, arm) for arm in arms))
    table = colormaps["tab10"] if len(names) <= 10 else colormaps["tab20"]
    chosen = {name: table(index % table.N) for index, name in enumerate(names)}
    return {arm: chosen[label(paper, arm)] for arm in arms}


def label(paper: PaperSpec, arm: str) -> str:
    return escape.picture(paper.arms[arm].label or arm)


def _figure(count: int, height: float = 3.4) -> tuple[Any, list[Any]]:
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    made = figure(max(6.0, 4.2 * columns), height * rows, dpi=100)
    axes = [made.add_subplot(rows, columns, index + 1) for index in range(count)]
    for axis in axes:
        axis.grid(True, alpha=0.25)
    return made, axes


def _learning(paper: PaperSpec, measurements: PaperMeasurements, path: Path) -> bool:
    """Validation score over updates: median over seeds, and a band from the least to the greatest."""
    by_task = panels(paper, measurements)
    tint = colours(paper, [run.arm for run in measurements.runs])
    made, axes = _figure(len(by_task))
    lowest, highest = 0.5, 1.5
    for axis, (task, arms) in zip(axes, by_task.items(), strict=True):
        for arm in arms:
            updates, low, middle, high = band(measurements.of(arm))
            if len(updates):
                axis.fill_between(updates, low, high, color=tint[arm], alpha=0.18, linewidth=0)
                axis.plot(updates, middle, color=tint[arm], label=label(paper, arm), linewidth=1.6)
                lowest, highest = min(lowest, low.min()), max(highest, high.max())
        axis.axhline(1, color="0.4", linewidth=0.8, linestyle=":")
        axis.set_yscale("log")
        axis.set_title(escape.picture(task), fontsize=9)
        axis.set_xlabel("update")
        legend(axis, fontsize=7)
    for axis in axes:  # one scale, so that panels compare
        axis.set_ylim(lowest * 0.8, highest * 1.25)
    axes[0].set_ylabel("validation score (trivial predictor 1)")
    save(made, path)
    return True


def band(runs: Sequence[PaperRun]) -> tuple[Any, Any, Any, Any]:
    """Updates, least, median and greatest score there; a run that has ended keeps its last score."""
    updates = sorted({update for run in runs for update, _ in run.curve})
    rows = []
    for run in runs:
        if not run.curve:
            continue
        known = np.array(run.curve, dtype=np.float64)
        place = np.searchsorted(known[:, 0], updates, side="right") - 1
        scores = np.where(place < 0, np.nan, known[np.clip(place, 0, None), 1])
        if run.outcome == "diverged":
            scores[np.array(updates) > known[-1, 0]] = CEILING
        rows.append(np.clip(scores, FLOOR, CEILING))
    if not rows:
        return np.array([]), None, None, None
    table = np.stack(rows)
    use = ~np.isnan(table).any(0)
    table = table[:, use]
    return np.array(updates)[use], table.min(0), np.median(table, 0), table.max(0)


def _success(paper: PaperSpec, measurements: PaperMeasurements, path: Path) -> bool:
    """Share of runs that solved the task over the parameter, with exact intervals."""
    series: dict[str, list[tuple[float, str]]] = {}
    for arm in dict.fromkeys(run.arm for run in measurements.runs):
        own = paper.arms[arm]
        if own.series and own.at is not None:
            series.setdefault(own.series, []).append((own.at, arm))
    if not any(len(points) > 1 for points in series.values()):
        return False
    made, (axis,) = _figure(1, 3.8)
    names = list(series)
    for index, (name, points) in enumerate(series.items()):
        x, middle, low, high = [], [], [], []
        for at, arm in sorted(points):
            runs = measurements.of(arm)
            met = sum(run.solved for run in runs)
            interval = rate_interval(met, len(runs))
            x.append(at * (1 + 0.02 * (index - (len(names) - 1) / 2)))  # side by side
            middle.append(met / len(runs))
            low.append(met / len(runs) - interval.low)
            high.append(interval.high - met / len(runs))
        axis.errorbar(x, middle, yerr=[low, high], marker="o", capsize=3, label=escape.picture(name), linewidth=1.4)
    axis.set_xlabel(escape.picture(paper.parameter))
    axis.set_ylabel("share of runs that solved it")
    axis.set_ylim(-0.03, 1.03)
    legend(axis, fontsize=8)
    save(made, path)
    return True


def _gradient(paper: PaperSpec, measurements: PaperMeasurements, path: Path) -> bool:
    """Gradient norm over the lag, relative to lag 0: before training dashed, after it drawn through."""
    by_task = {
        task: drawn
        for task, arms in panels(paper, measurements).items()
        if (drawn := [a for a in arms if measurements.flow.get(a)])
    }
    if not by_task:
        return False
    tint = colours(paper, [run.arm for run in measurements.runs])
    made, axes = _figure(len(by_task))
    lowest = 1.0
    for axis, (task, arms) in zip(axes, by_task.items(), strict=True):
        for arm in arms:
            flow: Mapping[str, list[tuple[int, float]]] = measurements.flow[arm]
            for when, style in (("before", "--"), ("after", "-")):
                if flow.get(when):
                    lags, norms = zip(*flow[when], strict=True)
                    name = label(paper, arm) if when == "after" or "after" not in flow else None
                    axis.plot(lags, norms, style, color=tint[arm], label=name, linewidth=1.4)
                    lowest = min(lowest, *norms)
        axis.set_yscale("log")
        axis.set_title(escape.picture(task), fontsize=9)
        axis.set_xlabel("lag (steps)")
        legend(axis, fontsize=7)
    for axis in axes:
        axis.set_ylim(bottom=max(lowest, VANISHED) / 2)
    axes[0].set_ylabel("‖∂L/∂h‖ over that at lag 0\n(dashed: before training)")
    save(made, path)
    return True
