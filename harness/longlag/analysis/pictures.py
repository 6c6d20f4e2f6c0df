"""The pictures of a study, as a paper would print them: curves with bands over seeds, one line a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from longlag import escape
from longlag.analysis import correlation
from longlag.analysis.cache import ReportCache, digest
from longlag.analysis.result import StudyResult, TrialResult
from longlag.figure import figure, save
from longlag.figure import legend as draw_legend
from longlag.log import log
from longlag.parts import Parts
from longlag.probes import draw
from longlag.spec import label
from longlag.tracking import accuracy, throughtime
from longlag.tracking.store import Store
from longlag.training import RunResult

Values = NDArray[np.float64]
Shown = TypeVar("Shown")
FLOOR = 1e-16
"""Where the axis of relative norms ends."""
NORMS = {"lag": r"$\|\partial \ell_\tau / \partial h_{\tau-k}\|$", "total": r"$\|\partial L / \partial h_{T-k}\|$"}


@dataclass(frozen=True)
class Seed:
    """What one run gives to the pictures.

    Args:
        run: its result.
        kind: ``lag`` or ``total``, which gradient the curves are of.
        before, after: norms by lag of the main output before training and when last measured.
        score: update -> validation score.
    """

    run: RunResult
    kind: str
    before: Values
    after: Values
    score: dict[int, float]


def draw_all(
    result: StudyResult, store: Store, folder: Path, parts: Parts, cache: ReportCache | None = None
) -> list[Path]:
    """Draw what there is to draw into `folder`; returns the files.

    They are ``curves`` and ``accuracy``, as PNG and PDF, and ``correlation``.

    Args:
        result: the study.
        store: where its runs are recorded.
        folder: made if it is not there.
        parts: makes each picture.
        cache: what it knows to show the same is not drawn again.
    """
    made = parts.make("the picture of curves", lambda: _curves(result, store, folder, cache)) or []
    made += parts.make("the picture of gradient flow and learning", lambda: _correlation(result, folder, cache)) or []
    return made + (parts.make("the picture of accuracy by length", lambda: _accuracy(result, folder, cache)) or [])


def _curves(result: StudyResult, store: Store, folder: Path, cache: ReportCache | None) -> list[Path]:
    rows, name = gather(result, store), result.spec.name
    if not rows:
        return []
    paths = [folder / "curves.png", folder / "curves.pdf"]
    shown = {task: {label: list(map(_shown, seeds)) for label, seeds in cells.items()} for task, cells in rows.items()}
    return _draw(paths, digest(name, shown), cache, lambda: curves(rows, name, paths))


def _correlation(result: StudyResult, folder: Path, cache: ReportCache | None) -> list[Path]:
    panels, name = correlation.panels(result), result.spec.name
    if not panels:
        return []
    path = folder / "correlation.png"
    return _draw([path], digest(name, panels), cache, lambda: correlation.scatter(panels, name, path))


def _accuracy(result: StudyResult, folder: Path, cache: ReportCache | None) -> list[Path]:
    rows, name = by_length(result), result.spec.name
    if not rows:
        return []
    paths = [folder / "accuracy.png", folder / "accuracy.pdf"]
    shown = {
        task: {label: [run.by_length for run in runs] for label, runs in cells.items()} for task, cells in rows.items()
    }
    return _draw(paths, digest(name, shown), cache, lambda: accuracies(rows, name, paths))


def _draw(paths: list[Path], shows: str, cache: ReportCache | None, draw: Callable[[], None]) -> list[Path]:
    key = paths[0].stem
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    if cache is None:
        draw()
    elif not cache.get(key, shows) or not all(path.exists() for path in paths):
        draw()
        cache.put(key, shows, True)
    return paths


def _shown(seed: Seed) -> list[Any]:
    """All that a picture shows of a run."""
    return [seed.kind, seed.before, seed.after, sorted(seed.score.items()), seed.run.outcome, seed.run.solved]


# -- what is shown ----------------------------------------------------------------------------------------------------


def gather(result: StudyResult, store: Store) -> dict[str, dict[str, list[Seed]]]:
    """Task -> cell (with options and depth, where those vary) -> the seeds of its best trial by the study's objective.

    Trials that are not complete, and runs that recorded no curves, are left out; so are runs whose file of curves is
    damaged, with a line that says it.
    """
    return _best(result, lambda trial: list(_seeds(trial, store)))


def by_length(result: StudyResult) -> dict[str, dict[str, list[RunResult]]]:
    """Task -> cell -> the runs, one a seed, of its best trial that have their accuracy by length."""
    return _best(result, lambda trial: [run for run in trial.runs if run.by_length])


def _best(result: StudyResult, take: Callable[[TrialResult], list[Shown]]) -> dict[str, dict[str, list[Shown]]]:
    """Task -> cell (with options and depth, where those vary) -> what its best trial gives, if it gives anything."""
    rows: dict[str, dict[str, list[Shown]]] = {}
    complete = [trial for trial in result.trials if trial.state == "complete" and trial.runs]
    several = len({trial.runs[0].spec.model.depth for trial in complete}) > 1
    for trial in complete:  # the best first
        spec = trial.runs[0].spec
        cells = rows.setdefault(_task(trial), {})
        cell = str(label(trial.point["cell"])) if "cell" in trial.point else spec.cell.name
        name = f"{cell}, depth {spec.model.depth}" if several else cell
        if name not in cells and (seeds := take(trial)):
            cells[name] = seeds
    return {task: cells for task, cells in rows.items() if cells}


def _task(trial: TrialResult) -> str:
    """The task, with those of its options that the study varies."""
    varied = [f"{path.removeprefix('task.')} {value}" for path, value in trial.point.items() if "task." in path]
    return ", ".join([trial.runs[0].spec.task.name, *varied])


def _seeds(trial: TrialResult, store: Store) -> Iterator[Seed]:
    for run, run_id in zip(trial.runs, trial.run_ids, strict=True):
        for kind, name in (("lag", throughtime.LAG_SECTION), ("total", throughtime.SECTION)):
            data = store.file(run_id, f"{name}.safetensors")
            if data is not None:
                try:
                    by_lag = throughtime.read(data)
                except ValueError as error:
                    log.warning(
                        "run %s is not in the picture of curves: %s.safetensors cannot be used, %s", run_id, name, error
                    )
                    break
                chosen = by_lag[main_output(list(by_lag), run.spec.model.depth)]
                score = dict(store.series(run_id, "validation/score"))
                yield Seed(run, kind, _known(chosen[0]), _known(chosen[-1]), score)
                break


def main_output(names: Sequence[str], depth: int) -> str:
    """Of curves ``layer1.h``, ``encoder.layer2.c`` ..., in this order: the output of what stands for the network."""
    part = f"encoder.layer{depth}." if any(name.startswith("encoder.") for name in names) else f"layer{depth}."
    return next(name for name in names if name.startswith(part))


def _known(values: Values) -> Values:
    return values[~np.isnan(values)]


def scores(seeds: Sequence[Seed]) -> tuple[Values, Values]:
    """Updates ``[E]`` and validation scores ``[seeds, E]``.

    A run that stopped because it had solved the task keeps its last score; one that diverged has infinity from there.
    """
    updates = sorted({update for seed in seeds for update in seed.score})
    rows = []
    for seed in seeds:
        last = max(seed.score, default=-1)
        after = math.inf if seed.run.outcome == "diverged" else seed.score.get(last, math.nan)
        rows.append([after if update > last else seed.score.get(update, math.nan) for update in updates])
    return np.array(updates, float), np.array(rows)


def legend(cell: str, seeds: Sequence[Seed]) -> str:
    """The cell with what became of its runs."""
    counts = {
        "solved": sum(seed.run.solved for seed in seeds),
        "diverged": sum(seed.run.outcome == "diverged" for seed in seeds),
    }
    outcomes = [f"{count} {what}" for what, count in counts.items() if count]
    many = f"{len(seeds)} seed" + ("s" if len(seeds) > 1 else "")
    return f"{cell} ({', '.join([many, *outcomes])})"


# -- how it is drawn --------------------------------------------------------------------------------------------------


def curves(rows: dict[str, dict[str, list[Seed]]], title: str, paths: Sequence[Path]) -> None:
    """A row a task: gradient by lag before training, at the end, and the score over training.

    The line is the median over the seeds, the band reaches from the least to the greatest.

    Args:
        rows: see `gather`.
        title: above all.
        paths: written to each, in the format that its ending says.
    """
    made = figure(12.5, 0.6 + 3.4 * len(rows), dpi=120)
    made.suptitle(f"{title}: best setting of each cell; median and range over seeds", fontsize=10)
    labels = dict.fromkeys(label for cells in rows.values() for label in cells)
    styles = {label: (place, place // draw.COLOURS) for place, label in enumerate(labels)}
    for (task, cells), axes in zip(rows.items(), made.subplots(len(rows), 3, squeeze=False), strict=True):
        norm = NORMS[next(iter(cells.values()))[0].kind]
        for axis, when, take in ((axes[0], "before training", _before), (axes[1], "when last measured", _after)):
            lines = [draw.Line(key, [take(seed) for seed in s], *styles[key]) for key, s in cells.items()]
            draw.by_lag(axis, lines, f"{norm}, relative to lag 0", FLOOR)
            axis.set_title(f"{escape.picture(task)}: {when}", fontsize=9)
        _learning(axes[2], cells, styles)
        axes[2].set_title(f"{escape.picture(task)}: learning", fontsize=9)
    save(made, *paths)


def accuracies(rows: dict[str, dict[str, list[RunResult]]], title: str, paths: Sequence[Path]) -> None:
    """A row a task: the share right over the length of the test sequences, one line a cell.

    Args:
        rows: see `by_length`.
        title: above all.
        paths: written to each, in the format that its ending says.
    """
    made = figure(9, 0.6 + 3.4 * len(rows), dpi=120)
    made.suptitle(f"{title}: best setting of each cell; median and range over seeds", fontsize=10)
    for (task, cells), axes in zip(rows.items(), made.subplots(len(rows), 1, squeeze=False)[:, 0], strict=True):
        accuracy.lines(axes, cells)
        axes.set_title(f"{escape.picture(task)}: accuracy by length", fontsize=9)
    save(made, *paths)


def _before(seed: Seed) -> Values:
    return seed.before


def _after(seed: Seed) -> Values:
    return seed.after


def _learning(axes: Any, cells: dict[str, list[Seed]], styles: dict[str, tuple[int, int]]) -> None:
    finite = [1.0]
    for name, seeds in cells.items():
        updates, values = scores(seeds)
        if not values.size:
            continue  # it diverged before it was evaluated
        draw.band(axes, updates, values, legend(name, seeds), *styles[name])
        finite += values[np.isfinite(values) & (values > 0)].tolist()
    axes.set_yscale("log")
    axes.set_ylim(0.7 * min(finite), min(1.5 * max(finite), draw.TOP))  # a band that ends in infinity leaves at the top
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlabel("update")
    axes.set_ylabel("validation score (trivial predictor 1)")
    axes.grid(True, alpha=0.25)
    draw_legend(axes, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
