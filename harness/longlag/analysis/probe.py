"""Gradient flow without training: of every network in a space, or of a finished run before and after it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from longlag.errors import UserError, quoted
from longlag.log import log
from longlag.probes import Curve, Scalars, draw
from longlag.spec import RunSpec, load_run, require_for_fields, require_for_run
from longlag.specfile import assign
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.environment import torch_threads
from longlag.training.probing import DTYPES, NetworkFlow, dynamics, network_flow

Dtype = Literal["float64", "float32", "bfloat16", "float16"]
FORMATS = (".png", ".pdf", ".svg")
FLOOR, DEEP_FLOOR = 1e-16, 1e-60
"""Where the picture ends, and where it does when number formats are compared."""


@dataclass(frozen=True)
class ProbedNetwork:
    """One network and its gradient flow.

    Args:
        point: the fields that set it apart from the others, by dotted path; of a finished run, ``when``.
        dtype: of parameters, states and gradients.
        specs: of the runs that would begin with it, one a seed.
        flows: measured, one a seed; empty where `error` says why they were not.
        dynamics: Lyapunov exponents, spectra, gates and norms, one mapping a seed; empty unless asked for.
        error: why nothing was measured, such as an operation that does not exist in `dtype`.
    """

    point: Mapping[str, Any]
    dtype: str
    specs: tuple[RunSpec, ...]
    flows: tuple[NetworkFlow, ...] = ()
    dynamics: tuple[Mapping[str, float], ...] = ()
    error: str = ""

    @property
    def cell(self) -> str:
        """The cell with the options that were given."""
        cell = self.point.get("cell", self.specs[0].cell.name)
        if not isinstance(cell, Mapping):
            return str(cell)
        return " ".join([str(cell.get("name")), *(f"{key}={value}" for key, value in cell.items() if key != "name")])

    def curves(self, part: str = "", state: str = "") -> list[Curve]:
        """The same curve of every seed; by default of the output of the layer that stands for the network."""
        return [curve for one in self.flows if (curve := one.of(state, part)) is not None]

    def median(self, part: str = "", state: str = "") -> Scalars:
        """The numbers of that curve, each the median over the seeds."""
        rows = [asdict(curve.scalars) for curve in self.curves(part, state)]
        return Scalars(**{key: statistics.median_low([row[key] for row in rows]) for key in rows[0]})


@dataclass(frozen=True)
class ProbeResult:
    """Networks and their gradient flow.

    Args:
        title: the task, and the run where one was probed.
        networks: one for each point of the space and number format.
    """

    title: str
    networks: tuple[ProbedNetwork, ...]

    @property
    def kind(self) -> Literal["lag", "total"]:
        """``lag``: of the loss at one step, by steps back from it; ``total``: of the whole loss."""
        measured = next(network for network in self.networks if not network.error)
        return "lag" if measured.flows[0].curves[0].kind == "lag" else "total"

    def label(self, network: ProbedNetwork) -> str:
        """The cell, and what sets the network apart from the others."""
        parts = [network.cell]
        for path, value in network.point.items():
            if path != "cell" and len({str(other.point.get(path)) for other in self.networks}) > 1:
                parts.append(str(value) if path == "when" else f"{path.rpartition('.')[2].replace('_', ' ')} {value}")
        if len({other.dtype for other in self.networks}) > 1:
            parts.append(network.dtype)
        return ", ".join(parts)

    def draw(self, path: Path | str, state: str = "") -> Path:
        """Write a picture of the curves by lag, with bands over the seeds, and return its path.

        Args:
            path: a file in a folder that is there, ending in .png, .pdf or .svg.
            state: to draw, such as ``c``; the output when not given.

        Raises:
            UserError: for another path, or a state that no network has.
        """
        path = check_picture(path)
        lines, cells = [], list(dict.fromkeys(network.cell for network in self.networks))
        for place, network in enumerate(self.networks):
            curves = network.curves(state=state)
            if curves:
                same = [other for other in self.networks[:place] if other.cell == network.cell]
                colour = place if len(cells) == 1 else cells.index(network.cell)
                values = [curve.by_lag for curve in curves]
                lines.append(draw.Line(self.label(network), values, colour, 0 if len(cells) == 1 else len(same)))
        if not lines:
            raise UserError(f"state {quoted(state)}: no network here has such a state")
        several = len({network.dtype for network in self.networks}) > 1
        step, of = (r"\tau", r"\ell_\tau") if self.kind == "lag" else ("T", "L")
        ylabel = rf"$\|\partial {of} / \partial {state or 'h'}_{{{step}-k}}\|$, relative to lag 0"
        precision = "" if several else f", {self.networks[0].dtype}"
        draw.flow(lines, path, f"{self.title}{precision}", ylabel, DEEP_FLOOR if several else FLOOR)
        return path


def check_picture(path: Path | str) -> Path:
    """Refuse a path that no picture can be written to.

    Raises:
        UserError: naming it.
    """
    path = Path(path)
    if path.suffix not in FORMATS or not path.absolute().parent.is_dir():
        raise UserError(f"{path}: should be a file in a folder that is there, ending in {', '.join(FORMATS)}")
    return path


def probe(
    base: RunSpec | Mapping[str, Any] | None = None,
    space: Mapping[str, Sequence[Any]] | None = None,
    *,
    run: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    dtypes: Sequence[Dtype] = ("float64",),
    batch_size: int = 8,
    dynamics: bool = False,
    threads: int = 1,
    home: Home | Path | str | None = None,
    tracking_uri: str | None = None,
) -> ProbeResult:
    """Measure how gradients flow back through time, before any training.

    Where there is a loss at every step, the gradient of the loss at one step is followed back; elsewhere the whole
    loss's. Nothing is recorded or written.

    Args:
        base: a run's fields, or a `RunSpec`.
        space: dotted path of a field -> the values that are compared, in all combinations.
        run: id of a finished run, whose network is measured before and after training, in place of `base` and `space`.
        seeds: of initialisation and data; curves are medians over them.
        dtypes: number formats of parameters, states and gradients.
        batch_size: sequences that the loss is taken over.
        dynamics: also measure Lyapunov exponents, spectra, gates and norms.
        threads: of torch.
        home: folder of the results that holds `run`; ``LONGLAG_HOME`` or ``./longlag-home`` when not given.
        tracking_uri: an MLflow server or store that holds `run`, instead of the home's own.

    Raises:
        UserError: for fields that are wrong, or when no network could be measured.

    Examples:
        >>> import longlag
        >>> task = {"task": {"name": "copy-memory", "length": 100}}
        >>> found = longlag.probe(task, {"cell": ["rnn", "lstm"]})  # doctest: +SKIP
        >>> [(network.cell, network.median().log10_ratio) for network in found.networks]  # doctest: +SKIP
    """
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise UserError(f"dtype {quoted(dtype)}: should be one of {', '.join(DTYPES)}")
    with torch_threads(threads):
        if run is None:
            if base is None:
                raise UserError("which task and cell? Give a run's fields, or the id of a finished run")
            title, networks = _points(base, space or {}, seeds, dtypes)
            measured = [_probed(network, None, batch_size, dynamics) for network in networks]
        else:
            if base is not None or space:
                raise UserError("run: the run says which task and network; leave out the fields and the space")
            opened = home if isinstance(home, Home) else Home.open(None if home is None else Path(home), create=False)
            spec, weights = Store.open(opened, tracking_uri).trained(run)
            title, measured = f"{spec.task.name}, run {run[:8]}", []
            for dtype in dtypes:
                for when, values in (("initially", None), ("trained", weights)):
                    network = ProbedNetwork({"when": when}, dtype, (spec,))
                    measured.append(_probed(network, values, batch_size, dynamics))
    if all(network.error for network in measured):
        raise UserError(measured[0].error)
    return ProbeResult(title, tuple(measured))


def _points(
    base: RunSpec | Mapping[str, Any], space: Mapping[str, Sequence[Any]], seeds: Sequence[int], dtypes: Sequence[Dtype]
) -> tuple[str, list[ProbedNetwork]]:
    """Every point of the space."""
    fields = base.model_dump() if isinstance(base, RunSpec) else dict(base)
    require_for_fields({"base": fields, "space": space})
    found = []
    for values in itertools.product(*space.values()):
        data = dict(fields)
        for path, value in zip(space, values, strict=True):
            assign(data, path, value)
        specs = tuple(load_run({**data, "seed": seed}) for seed in seeds)
        for spec in specs:
            require_for_run(spec)
        point = dict(zip(space, values, strict=True))
        found += [ProbedNetwork(point, dtype, specs) for dtype in dtypes]
    return (found[0].specs[0].task.name if found else ""), found


def _probed(
    network: ProbedNetwork, weights: Mapping[str, Tensor] | None, batch_size: int, dynamic: bool
) -> ProbedNetwork:
    """The network with what was measured, or with why it was not."""
    try:
        flows = tuple(network_flow(spec, network.dtype, batch_size, weights) for spec in network.specs)
        more = tuple(dynamics(spec, weights, batch_size) for spec in network.specs) if dynamic else ()
    except UserError:
        raise
    except (RuntimeError, ValueError, NotImplementedError) as error:  # a format that an operation does not know
        log.info("%s is not measured in %s", network.cell, network.dtype, exc_info=True)
        why = f"not measured in {network.dtype}: {str(error).splitlines()[0]}"
        return ProbedNetwork(network.point, network.dtype, network.specs, error=why)
    return ProbedNetwork(network.point, network.dtype, network.specs, flows, more)
