"""What `probe` does once it knows what is asked. Imports everything heavy; the command imports it late."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from longlag import specfile
from longlag.analysis.probe import ProbedNetwork, ProbeResult
from longlag.analysis.probe import probe as measured
from longlag.cli.terminal import console, json_number, number, print_json
from longlag.errors import UserError, clipped
from longlag.probes import draw
from longlag.probes.flow import by_layer

PATHS = {
    "cell": "cell",
    "init": "cell.init",
    "depth": "model.depth",
    "hidden_size": "model.hidden_size",
    "block": "model.block",
    "length": "task.length",
}
OPTIONS = {path: option for option, path in PATHS.items()}
POINTS = 200


@dataclass(frozen=True)
class ProbeOptions:
    """The command line: texts of the axes by option, and what else was said."""

    axes: Mapping[str, str]
    dtypes: str
    seeds: str
    size: int
    settings: tuple[str, ...]
    state: str | None
    dynamics: bool
    threads: int


def _values(text: str, option: str) -> list[Any]:
    values = specfile.parse(f"[{text}]", f"--{option.replace('_', '-')}")
    if not isinstance(values, list) or not values:
        raise UserError(f"--{option.replace('_', '-')}: has no values")
    return values


def of_task(task: str | None, options: ProbeOptions) -> ProbeResult:
    """Every combination of the axes."""
    base: dict[str, Any] = {} if task is None else {"task": task}
    space = {PATHS[key]: _values(text, key) for key, text in options.axes.items()}
    for path, values in space.items():
        if len(values) == 1:
            specfile.assign(base, path, values[0])  # so that a setting can add to it
    for setting in options.settings:
        name = setting.partition("=")[0]
        for path, values in space.items():
            if len(values) > 1 and (name == path or name.startswith(f"{path}.")):
                raise UserError(f"--set {name}: --{OPTIONS[path]} has several values, which would lose it; give one")
    base = specfile.override(base, options.settings)
    if "task" not in base:
        raise UserError("which task? For example: longlag probe copy-memory --cell rnn,lstm (`longlag list tasks`)")
    if "cell" not in options.axes and "cell" not in base:
        raise UserError(
            f"which cells? For example: longlag probe {clipped(task)} --cell rnn,lstm (`longlag list cells`)"
        )
    space = {path: values if len(values) > 1 else [_at(base, path)] for path, values in space.items()}
    return measured(base, space, seeds=_values(options.seeds, "seeds"), **_how(options))


def _at(fields: Mapping[str, Any], path: str) -> Any:
    """The value of a dotted path."""
    for key in path.split("."):
        fields = fields[key]
    return fields


def of_run(
    run: str, task: str | None, options: ProbeOptions, home: Path | None, tracking_uri: str | None
) -> ProbeResult:
    """The network of a finished run, before and after training."""
    from longlag.cli.homes import existing, none_begun

    if task is not None or options.axes or options.settings:
        raise UserError("--run: the run says which task and network; leave out the task, --cell, --set and the like")
    opened = existing(home)
    if opened is None:
        raise none_begun(None, home)
    return measured(run=run, home=opened, tracking_uri=tracking_uri, **_how(options))


def _how(options: ProbeOptions) -> dict[str, Any]:
    dtypes = [str(name) for name in _values(options.dtypes, "dtype")]
    return {"dtypes": dtypes, "batch_size": options.size, "dynamics": options.dynamics, "threads": options.threads}


def show(result: ProbeResult, options: ProbeOptions, plot: Path | None, *, json: bool) -> None:
    """The table or JSON, and the picture if one was asked for."""
    picture = None if plot is None else result.draw(plot, options.state or "")
    if json:
        rows = [_as_json(network) for network in result.networks]
        fields = {"task": result.title, "kind": result.kind, "picture": picture and str(picture), "rows": rows}
        print_json(fields)
        return
    out = console()
    out.print(_table(result))
    if options.dynamics:
        out.print(_dynamics_table(result))
    for network in result.networks:
        if network.error:
            out.print(f"{result.label(network)}: {network.error}", soft_wrap=True)
    said = "--plot FILE.png draws it" if picture is None else f"picture: {picture}"
    out.print(said, soft_wrap=True)


def _table(result: ProbeResult) -> Table:
    what = "of the loss at one step" if result.kind == "lag" else "of the whole loss"
    seeds = len(result.networks[0].specs)
    text = f"{result.title}: gradient {what} through time" + (f", median of {seeds} seeds" if seeds > 1 else "")
    table = Table(title=text, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    table.add_column("state")
    for name in ("decades first/last", "per step", "horizon 10 %", "horizon 1 %", "under 1e-6", "zero from lag"):
        table.add_column(name, justify="right")
    for network in result.networks:
        for curve in network.flows[0].curves if network.flows else ():
            curves = network.curves(curve.part, curve.state)
            s = network.median(curve.part, curve.state)
            ends = [one.scalars.log10_ratio for one in curves]
            span = f" ({number(min(ends))} … {number(max(ends))})" if min(ends) < max(ends) else ""
            table.add_row(
                result.label(network),
                curve.name,
                f"{number(s.log10_ratio)}{span}",
                f"{s.slope:+.2g} ± {s.slope_error:.1g}" if math.isfinite(s.slope) else "–",
                f"{s.horizon10:.0f}",
                f"{s.horizon:.0f}",
                f"{100 * s.tiny:.0f} %" if math.isfinite(s.tiny) else "–",
                "–" if math.isnan(s.underflow) else f"{s.underflow:.0f}",
            )
    return table


def _dynamics_table(result: ProbeResult) -> Table:
    """Everything else, one row a number."""
    table = Table(title="dynamics, mean over seeds", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    names: dict[str, None] = {}
    for network in result.networks:
        table.add_column(result.label(network), justify="right", overflow="fold")
        names |= dict.fromkeys(key for row in network.dynamics for key in row)
    for name in sorted(names, key=by_layer):
        cells = []
        for network in result.networks:
            values = [row[name] for row in network.dynamics if name in row]
            cells.append(number(statistics.fmean(values)) if values else "")
        table.add_row(name, *cells)
    return table


def _as_json(network: ProbedNetwork) -> dict[str, Any]:
    axes = {OPTIONS.get(path, path): value for path, value in network.point.items() if path != "cell"}
    row: dict[str, Any] = {"cell": network.cell, **axes, "dtype": network.dtype}
    if network.error:
        return {**row, "error": network.error}
    row["states"] = []
    for curve in network.flows[0].curves:
        curves = network.curves(curve.part, curve.state)
        middle, low, high = draw.relative([c.by_lag for c in curves])
        lags = np.unique(np.geomspace(1, len(middle), POINTS).round().astype(int)) - 1
        row["states"].append(
            {
                "state": curve.name,
                "median": _finite(asdict(network.median(curve.part, curve.state))),
                "seeds": [_finite(asdict(c.scalars)) for c in curves],
                "lag": lags.tolist(),
                "relative_norm": _some(middle[lags]),
                "least": _some(low[lags]),
                "greatest": _some(high[lags]),
            }
        )
    if network.dynamics:
        row["dynamics"] = [_finite(values) for values in network.dynamics]
    row["seconds"] = round(sum(flow.seconds for flow in network.flows), 3)
    return row


def _finite(values: Mapping[str, float]) -> dict[str, float | str | None]:
    """JSON knows no NaN: null; infinities as text, as in a run's result."""
    return {key: json_number(value) for key, value in values.items()}


def _some(values: Any) -> list[float | str | None]:
    return [json_number(float(value)) for value in values]
