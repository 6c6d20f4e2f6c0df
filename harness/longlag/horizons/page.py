"""The Markdown page of horizon studies, written from their data files and never by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import yaml

from longlag import escape
from longlag.horizons.correlation import agreement
from longlag.horizons.measurements import CellMeasurements, HorizonMeasurements
from longlag.horizons.psi import Threshold
from longlag.parts import Parts

HEAD = """# Horizons: the longest lag that a cell learns

<!-- Written by `longlag horizon` from the data files below; edit those commands, not this page. -->

For every cell the lag **T50** at which half the runs still solve the task, at a fixed budget of updates and an equal
parameter count. Every run has a seed of its own; every run counts, those that diverged as unsolved.

"""

METHOD = """## How it is measured

**Success.** A run at lag T solves the task with probability

    p(T) = {lapse} + (1 - {twice}) / (1 + exp((ln T - ln T50) / s))

The {lapse} at either end keeps one freak run from deciding; p is 1/2 at T50 whatever it is.

**Search.** The psi method (Kontsevich and Tyler 1999; the spread s as a nuisance: Prins 2013). The prior is uniform in
ln T50, from the shortest lag over {margin:g} to {margin:g} times the longest, and in ln s from {least:g} to {most:g}.
The next lag is the one after which the posterior of T50 is expected to have the least entropy, {together} lags at a
time. A cell's lags depend on its own earlier runs alone: neither the number of workers nor which run is done first
changes them, and a study with more runs begins with the runs of the smaller one.

**Figures.** T50 is the median of the posterior, the interval its central {level:.0%}. `>` the longest lag: the median
lies above it; an interval is open where its end does. On simulated cells with 16 runs (`python -m benchmarks.horizon`,
10 to 500 steps, 400 cells a figure) the intervals hold T50 in 96.5% of cells drawn from the prior, in 96.5% or more at
every T50 tried with s = 0.1 or 0.3, and in 89.5% or more where success falls off slowly, s = 0.6. Gradient horizon: the
longest lag at which 1% of the gradient is left before training, median of 3 seeds at the longest lag
([gradient flow](gradient-flow.md)); `≥` where it reaches as far as there are steps.

**Learning rate.** Before a cell's counted runs each rate climbs, with one seed ({climbing:,}) of its own: the lag
doubles from the shortest as long as the task is solved. The rate that climbs highest is taken; of two that come to the
same lag the one with the lower validation score there; where both come to the longest, the one with fewer updates in
all; then the smaller. These runs do not count for T50; their cost stands in the last column.

"""

COLUMNS = (
    "cell",
    "T50",
    "95% interval",
    "gradient horizon",
    "lr",
    "units",
    "parameters",
    "solved",
    "updates to solve",
    "counted runs, s",
    "all runs, s",
)


def write(studies: Mapping[Path, HorizonMeasurements], path: Path, chart: Path | None, parts: Parts) -> None:
    """Write the page.

    Args:
        studies: the studies by their data files, one section each.
        path: of the page.
        chart: the picture, which the page shows; None where there is none.
        parts: makes each section; what it could not make so far is said at the end of the page.
    """
    texts = [HEAD, f"![Longest lag learned by each cell]({_link(chart, path)})\n\n" if chart else ""]
    for file, measurements in studies.items():
        texts.append(
            parts.make(f"the section on {measurements.task}", partial(_section, measurements, _link(file, path))) or ""
        )
    texts.append(parts.make("the section on the method", lambda: _method(next(iter(studies.values())))) or "")
    texts.append(parts.make("the section on machines", lambda: _environment(list(studies.values()))) or "")
    texts += [f"{line}\n" for line in parts.section()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(texts).rstrip() + "\n", encoding="utf-8")


def _link(file: Path, page: Path) -> str:
    return Path(os.path.relpath(file.resolve(), page.resolve().parent)).as_posix()


def _section(measurements: HorizonMeasurements, data: str) -> str:
    spec = measurements.spec
    first = spec.stored_run()
    counted = sum(len(cell.counted) for cell in measurements.cells)
    diverged = sum(run.outcome == "diverged" for cell in measurements.cells for run in cell.counted)
    seconds = sum(cell.seconds() for cell in measurements.cells)
    rates = ", ".join(f"{rate:g}" for rate in spec.rates)
    lines = [
        f"## {escape.markdown(measurements.task)}",
        "",
        f"{first.training.updates:,} updates of {first.training.batch_size} sequences, about {spec.parameters:,} "
        f"parameters, {escape.markdown(first.optimizer.name)} with a learning rate of {rates}; lags of {spec.shortest} "
        f"to {spec.longest} steps ({escape.code(spec.lag)}). Solved, at the shortest lag: "
        f"{escape.markdown(measurements.criterion)}. "
        f"{counted} counted runs, {diverged} of them diverged; {seconds / 60:.0f} minutes of processor time in all.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    lines += [_row(cell, fit, measurements) for cell, fit in measurements.by_horizon()]
    lines += [
        "",
        f"{agreement(measurements)}",
        "",
        f"Data: [{Path(data).name}]({data}). The base of every run:",
        "",
        escape.fenced(yaml.safe_dump(spec.base, sort_keys=True), "yaml"),
        "",
        "",
    ]
    return "\n".join(lines)


def _row(cell: CellMeasurements, fit: Threshold, measurements: HorizonMeasurements) -> str:
    updates = cell.updates_to_solve()
    cells = [
        escape.code(cell.cell),
        t50(fit, measurements),
        interval(fit, measurements),
        gradient(cell),
        f"{cell.rate:g}",
        f"{cell.hidden_size}",
        f"{cell.parameters:,}",
        f"{sum(run.solved for run in cell.counted)} of {len(cell.counted)}",
        "–" if updates is None else f"{updates:,.0f}",
        f"{cell.seconds('counted'):.0f}",
        f"{cell.seconds():.0f}",
    ]
    return f"| {' | '.join(map(escape.cell, cells))} |"


def t50(fit: Threshold, measurements: HorizonMeasurements) -> str:
    """As the tables have it."""
    if fit.median is not None:
        return f"{fit.median:.0f}"
    return f"> {measurements.spec.longest}" if fit.above > fit.below else f"< {measurements.spec.shortest}"


def interval(fit: Threshold, measurements: HorizonMeasurements) -> str:
    """As the tables have it: an open end is said in words of the lags looked at."""
    shortest, longest = measurements.spec.shortest, measurements.spec.longest
    if fit.low is None and fit.high is None:
        return "open at both ends"
    if fit.low is None:
        return f"< {fit.high:.0f}" if fit.high is not None and fit.high > shortest else f"< {shortest}"
    if fit.high is None:
        return f"> {fit.low:.0f}" if fit.low < longest else f"> {longest}"
    return f"{fit.low:.0f} … {fit.high:.0f}"


def gradient(cell: CellMeasurements) -> str:
    """As the tables have it."""
    reach = cell.gradient_horizon()
    return "–" if reach is None else f"{'≥ ' if reach[1] else ''}{reach[0]:.0f}"


def _method(measurements: HorizonMeasurements) -> str:
    how = measurements.method
    return METHOD.format(
        lapse=how["lapse"],
        twice=2 * how["lapse"],
        margin=how["margin"],
        least=how["spreads"][0],
        most=how["spreads"][1],
        level=how["level"],
        together=how["together"],
        climbing=how["climbing_seed"],
        longest=measurements.spec.longest,
    )


def _environment(studies: Sequence[HorizonMeasurements]) -> str:
    lines = ["## Where it was run", ""]
    for measurements in studies:
        known = {key: ", ".join(values) for key, values in measurements.environment.items()}
        facts = escape.markdown("; ".join(f"{key} {value}" for key, value in known.items()))
        lines += [f"{escape.code(measurements.task)}: study `{measurements.identity[:12]}`; {facts}.", ""]
    return "\n".join(lines)
