"""What `probe` does once it knows what is asked. Imports everything heavy; the command imports it late."""

from __future__ import annotations

import itertools
import json as json_
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich import box
from rich.table import Table
from torch import Tensor

from longlag import specfile
from longlag.cli.display import console, number
from longlag.errors import UserError
from longlag.probes import Curve, Scalars, draw
from longlag.spec import RunSpec, load_run
from longlag.training.probing import DTYPES, Flow, flow
from longlag.workers.runner import torch_threads

PATHS = {
    "cell": "cell",
    "init": "cell.init",
    "depth": "model.depth",
    "hidden_size": "model.hidden_size",
    "length": "task.length",
}
POINTS = 200
FORMATS = (".png", ".pdf", ".svg")
FLOOR, DEEP_FLOOR = 1e-16, 1e-60
"""Where the picture ends, and where it does when number formats are compared."""


@dataclass(frozen=True)
class Asked:
    """The command line: texts of the axes by option, and what else was said."""

    axes: Mapping[str, str]
    dtypes: str
    seeds: str
    size: int
    settings: tuple[str, ...]
    state: str | None
    dynamics: bool


@dataclass
class Point:
    """One line of the table: a network by its axes, and what was measured, one entry a seed."""

    axes: dict[str, Any]
    dtype: str
    specs: list[RunSpec]
    weights: Mapping[str, Tensor] | None = None
    flows: list[Flow] = field(default_factory=list)
    dynamics: list[dict[str, float]] = field(default_factory=list)
    error: str = ""


def _values(text: str, option: str) -> list[Any]:
    values = specfile.parse(f"[{text}]", f"--{option.replace('_', '-')}")
    if not isinstance(values, list) or not values:
        raise UserError(f"--{option.replace('_', '-')}: has no values")
    return values


def _dtypes(text: str) -> list[str]:
    names = [str(name) for name in _values(text, "dtype")]
    for name in names:
        if name not in DTYPES:
            raise UserError(f"--dtype {name}: one of {', '.join(DTYPES)}")
    return names


def _name(cell: Any) -> str:
    """A cell with the options that were given."""
    if not isinstance(cell, dict):
        return str(cell)
    return " ".join([str(cell.get("name")), *(f"{key}={value}" for key, value in cell.items() if key != "name")])


def points(task: str | None, asked: Asked) -> list[Point]:
    """Every combination of the axes."""
    base: dict[str, Any] = {} if task is None else {"task": task}
    base = specfile.override(base, asked.settings)
    if "task" not in base:
        raise UserError("which task? For example: longlag probe copy-memory --cell rnn,lstm (`longlag list tasks`)")
    if "cell" not in asked.axes and "cell" not in base:
        raise UserError(f"which cells? For example: longlag probe {task} --cell rnn,lstm (`longlag list cells`)")
    axes = {key: _values(text, key) for key, text in asked.axes.items()}
    seeds = _values(asked.seeds, "seeds")
    found = []
    for values in itertools.product(*axes.values()):
        fields = base
        for key, value in zip(axes, values, strict=True):
            fields = dict(fields)
            specfile.assign(fields, PATHS[key], value)
        named = {key: _name(value) if key == "cell" else value for key, value in zip(axes, values, strict=True)}
        named.setdefault("cell", load_run(fields).cell.name)
        specs = [load_run({**fields, "seed": seed}) for seed in seeds]
        found += [Point(named, dtype, specs) for dtype in _dtypes(asked.dtypes)]
    return found


def trained(
    run_id: str, task: str | None, asked: Asked, home: Path | None, tracking_uri: str | None
) -> tuple[list[Point], str]:
    """The network of a finished run, before and after training."""
    from longlag.cli.homes import existing, none_begun
    from longlag.tracking.store import Store

    if task is not None or asked.axes or asked.settings:
        raise UserError("--run: the run says which task and network; leave out the task, --cell, --set and the like")
    opened = existing(home)
    if opened is None:
        raise none_begun(None, home)
    spec, weights = Store.open(opened, tracking_uri).trained(run_id)
    name = f"{spec.cell.name}, run {run_id[:8]}"
    before, after = {"cell": name, "when": "initially"}, {"cell": name, "when": "trained"}
    found = []
    for dtype in _dtypes(asked.dtypes):
        found += [Point(before, dtype, [spec]), Point(after, dtype, [spec], weights)]
    return found, f"{spec.task.name}, run {run_id[:8]}"


def show(found: list[Point], asked: Asked, title: str, plot: Path | None, *, threads: int, json: bool) -> None:
    """Measure, then the table or JSON, and the picture."""
    path = plot or Path(f"gradient-flow-{title.split(',')[0]}.png")
    if path.suffix not in FORMATS or not path.absolute().parent.is_dir():
        raise UserError(f"--plot {path}: a file in a folder that is there, ending in {', '.join(FORMATS)}")
    with torch_threads(threads):
        for point in found:
            _measure(point, asked)
    if all(point.error for point in found):
        raise UserError(found[0].error)
    kind = next(point.flows[0].curves[0].kind for point in found if not point.error)
    _draw(found, asked, title, path, kind)
    if json:
        rows = [_as_json(point) for point in found]
        typer.echo(json_.dumps({"task": title, "kind": kind, "picture": str(path), "rows": rows}, indent=1))
        return
    out = console()
    out.print(_table(found, title, kind))
    if asked.dynamics:
        out.print(_dynamics_table(found))
    for point in found:
        if point.error:
            out.print(f"{_label(point, found)}: {point.error}", markup=False, soft_wrap=True)
    out.print(f"picture: {path}", markup=False, soft_wrap=True)


def _measure(point: Point, asked: Asked) -> None:
    try:
        for spec in point.specs:
            point.flows.append(flow(spec, point.dtype, asked.size, point.weights))
            if asked.dynamics:
                from longlag.training.probing import dynamics

                point.dynamics.append(dynamics(spec, point.weights, asked.size))
    except UserError:
        raise
    except (RuntimeError, ValueError, NotImplementedError) as error:  # a format that an operation does not know
        point.error = f"not measured in {point.dtype}: {str(error).splitlines()[0]}"
        point.flows = []


def _label(point: Point, found: Sequence[Point]) -> str:
    """The cell, and what differs between the points."""
    parts = []
    for key in point.axes:
        if key == "cell":
            parts.append(str(point.axes[key]))
        elif len({str(other.axes.get(key)) for other in found}) > 1:
            parts.append(f"{key.replace('_', ' ')} {point.axes[key]}" if key != "when" else str(point.axes[key]))
    if len({other.dtype for other in found}) > 1:
        parts.append(point.dtype)
    return ", ".join(parts)


def _curves(point: Point, part: str, state: str) -> list[Curve]:
    """The same curve of every seed."""
    return [curve for flow in point.flows if (curve := flow.of(state, part)) is not None]


def _middle(curves: Sequence[Curve]) -> Scalars:
    """Medians over the seeds."""
    rows = [asdict(curve.scalars) for curve in curves]
    return Scalars(**{key: statistics.median_low([row[key] for row in rows]) for key in rows[0]})


def _table(found: Sequence[Point], title: str, kind: str) -> Table:
    what = "of the loss at one step" if kind == "lag" else "of the whole loss"
    seeds = len(found[0].specs)
    text = f"{title}: gradient {what} through time" + (f", median of {seeds} seeds" if seeds > 1 else "")
    table = Table(title=text, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    table.add_column("state")
    for name in ("decades first/last", "per step", "horizon 10 %", "horizon 1 %", "under 1e-6", "zero from lag"):
        table.add_column(name, justify="right")
    for point in found:
        for curve in point.flows[0].curves if point.flows else ():
            curves = _curves(point, curve.part, curve.state)
            s = _middle(curves)
            ends = [one.scalars.log10_ratio for one in curves]
            span = f" ({number(min(ends))} … {number(max(ends))})" if len(ends) > 1 else ""
            table.add_row(
                _label(point, found),
                curve.name,
                f"{number(s.log10_ratio)}{span}",
                f"{s.slope:+.2g} ± {s.slope_error:.1g}",
                f"{s.horizon10:.0f}",
                f"{s.horizon:.0f}",
                f"{100 * s.tiny:.0f} %" if math.isfinite(s.tiny) else "–",
                "–" if math.isnan(s.underflow) else f"{s.underflow:.0f}",
            )
    return table


def _dynamics_table(found: Sequence[Point]) -> Table:
    """Everything else, one row a number."""
    table = Table(title="dynamics, mean over seeds", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    names: dict[str, None] = {}
    for point in found:
        table.add_column(_label(point, found), justify="right", overflow="fold")
        names |= dict.fromkeys(key for row in point.dynamics for key in row)
    for name in sorted(names):
        cells = []
        for point in found:
            values = [row[name] for row in point.dynamics if name in row]
            cells.append(number(statistics.fmean(values)) if values else "")
        table.add_row(name, *cells)
    return table


def _draw(found: Sequence[Point], asked: Asked, title: str, path: Path, kind: str) -> None:
    lines = []
    cells = list(dict.fromkeys(str(point.axes["cell"]) for point in found))
    single = len(cells) == 1
    for place, point in enumerate(found):
        same = [other for other in found[:place] if other.axes["cell"] == point.axes["cell"]]
        curves = _curves(point, "", asked.state or "")
        if curves:
            colour = place if single else cells.index(str(point.axes["cell"]))
            lines.append(
                draw.Line(_label(point, found), [c.by_lag for c in curves], colour, 0 if single else len(same))
            )
    if not lines:
        raise UserError(f"--state {asked.state}: no network here has such a state")
    several = len({point.dtype for point in found}) > 1
    s = asked.state or "h"
    step, of = (r"\tau", r"\ell_\tau") if kind == "lag" else ("T", "L")
    ylabel = rf"$\|\partial {of} / \partial {s}_{{{step}-k}}\|$, relative to lag 0"
    precision = "" if several else f", {found[0].dtype}"
    draw.flow(lines, path, f"{title}{precision}", ylabel, DEEP_FLOOR if several else FLOOR)


def _as_json(point: Point) -> dict[str, Any]:
    row: dict[str, Any] = {**point.axes, "dtype": point.dtype}
    if point.error:
        return {**row, "error": point.error}
    row["states"] = []
    for curve in point.flows[0].curves:
        curves = _curves(point, curve.part, curve.state)
        middle, low, high = draw.relative([c.by_lag for c in curves])
        lags = np.unique(np.geomspace(1, len(middle), POINTS).round().astype(int)) - 1
        row["states"].append(
            {
                "state": curve.name,
                "median": _finite(asdict(_middle(curves))),
                "seeds": [_finite(asdict(c.scalars)) for c in curves],
                "lag": lags.tolist(),
                "relative_norm": _some(middle[lags]),
                "least": _some(low[lags]),
                "greatest": _some(high[lags]),
            }
        )
    if point.dynamics:
        row["dynamics"] = [_finite(values) for values in point.dynamics]
    row["seconds"] = round(sum(flow.seconds for flow in point.flows), 3)
    return row


def _finite(values: Mapping[str, float]) -> dict[str, float | str | None]:
    """JSON knows no NaN: null; infinities as text, as in a run's result."""
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def _some(values: Any) -> list[float | str | None]:
    return [_plain(float(value)) for value in values]
