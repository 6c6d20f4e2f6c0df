"""From a function of rows to a plan: its core traced, as a scan's is, without states and without lanes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from longlag.kernels.chain import Rows
from longlag.kernels.compiler.axes import trace_core
from longlag.kernels.compiler.graph import Graph
from longlag.kernels.compiler.scan_plan import ScanPlan
from longlag.kernels.compiler.sums import simplified
from longlag.kernels.compiler.trace import Traced, Untraceable, check_names
from longlag.kernels.recurrence import Named

NO_LANES, ROW = "", "k"
"""The axes of the plan, of which no tensor has the first."""


def make_row_plan(function: Rows) -> ScanPlan:
    """Trace `function`.

    Raises:
        Untraceable: when its core cannot be compiled.
    """
    check_names(type(function).__name__, *function.inputs, *function.parameters, *function.outputs)
    groups = {"x": function.inputs, "p": function.parameters}
    own = {f"{kind}:{name}": (ROW,) for kind, names in groups.items() for name in names}
    outputs = dict.fromkeys(function.outputs, (ROW,))

    def flat(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        x, p = (Named({n: values[f"{kind}:{n}"] for n in names}) for kind, names in groups.items())
        return function.core(x, p)

    graph = Graph()
    try:
        core, extents = trace_core(graph, flat, (ROW,), own, {}, outputs)
    except Untraceable:
        raise
    except Exception as error:  # third-party code: whatever it raises is a reason not to compile it
        raise Untraceable(f"tracing it raised {type(error).__name__}: {error}") from error
    roots = [*core.outputs.values(), *core.gradients.values(), *core.totals.values()]
    new = simplified(graph, extents, NO_LANES, roots)
    core = Traced(
        *({name: new[node] for name, node in part.items()} for part in (core.outputs, core.gradients, core.totals))
    )
    inputs, parameters = (dict.fromkeys(names, (ROW,)) for names in (function.inputs, function.parameters))
    name = type(function).__name__
    return ScanPlan(name, (NO_LANES, ROW), inputs, parameters, {}, outputs, core, extents, graph)
