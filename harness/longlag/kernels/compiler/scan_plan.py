"""From a scan cell to a plan: its core traced, and what a kernel has to compute laid out by kinds of nodes.

The first axis of a cell is taken apart into lanes, and a core's values are independent along it. So every node is of
one of five kinds, and what has no lanes never waits for what has:

    scalar         one number a head
    lanes          a value for each element of the first axis
    row            a value for each element of the second axis
    tile           both
    matrix         a square matrix along the second axis: a parameter that tiles are multiplied by, or its gradient

In the backward pass the gradients of scalars and rows are sums over the lanes. They are linear in the gradients that
arrive, so the lanes may be computed in parts, one after the other, and their sums added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from torch import Tensor

from longlag.kernels.compiler.axes import MATRIX, OUTER, TIMES, TURNED, Extents, summed, trace_core
from longlag.kernels.compiler.graph import Graph, Node, reachable
from longlag.kernels.compiler.sums import simplified
from longlag.kernels.compiler.trace import Traced, Untraceable, check_names
from longlag.kernels.recurrence import Named
from longlag.kernels.scan import Axes, Scan, square
from longlag.log import log


class Kind(IntEnum):
    """Which of the two axes a value has: bit 0 the lanes, bit 1 the second axis. A square matrix is apart."""

    SCALAR = 0
    LANES = 1
    ROW = 2
    TILE = 3
    MATRIX = 4

    @property
    def has_lanes(self) -> bool:
        return bool(self & 1)

    @property
    def has_row(self) -> bool:
        return bool(self & 2)


@dataclass(frozen=True)
class ScanPlan:
    """A scan cell, traced: everything that a target builds a kernel from.

    In `core` the inputs of the graph are ``x:<input>``, ``s:<state>``, ``p:<parameter>`` and ``size:<axis>``, the
    number of elements along an axis; results are named as in the cell.
    """

    name: str
    axes: Axes
    inputs: Mapping[str, Axes]
    parameters: Mapping[str, Axes]
    states: Mapping[str, Axes]
    outputs: Mapping[str, Axes]
    core: Traced
    extents: Extents
    graph: Graph

    def kind(self, node: Node) -> Kind:
        return self.kind_of(self.extents.of(node))

    def kind_of(self, own: Axes | frozenset[str]) -> Kind:
        if MATRIX in own or (isinstance(own, tuple) and square(own)):
            return Kind.MATRIX
        return Kind(sum(1 << k for k, axis in enumerate(self.axes) if axis in own))

    def over_lanes(self, node: Node) -> bool:
        """Whether a node is a sum over the lanes."""
        return summed(node) == self.axes[0] or node.op == OUTER


def make_scan_plan(cell: Scan) -> ScanPlan:
    """Trace `cell`.

    Raises:
        Untraceable: when its core cannot be compiled.
    """
    axes = tuple(cell.axes)
    if not 1 <= len(axes) <= 2:
        raise Untraceable(f"it has {len(axes)} axes, and one or two can be compiled")
    groups = {"x": dict(cell.inputs), "s": dict(cell.states), "p": dict(cell.parameters)}
    check_names(type(cell).__name__, *axes, *(name for group in groups.values() for name in group), *cell.outputs)
    inputs = {f"{kind}:{name}": own for kind, group in groups.items() for name, own in group.items()}
    if unknown := {axis for own in [*inputs.values(), *cell.outputs.values()] for axis in own} - set(axes):
        raise Untraceable(f"it names axes that it has not: {', '.join(sorted(unknown))}")
    if shared := set(cell.states) & set(cell.outputs):
        raise Untraceable(f"{', '.join(sorted(shared))} is a state and an output")

    matrices = {name: own for group in (*groups.values(), cell.outputs) for name, own in group.items() if square(own)}
    if {*matrices} - {*cell.parameters} or any(own[0] != axes[-1] or len(axes) < 2 for own in matrices.values()):
        raise Untraceable("only a parameter may be a square matrix, along the second of two axes")

    def flat(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        x, s, p = (Named({n: values[f"{kind}:{n}"] for n in group}) for kind, group in groups.items())
        return cell.core(x, s, p)

    graph = Graph()
    try:
        core, extents = trace_core(graph, flat, axes, inputs, cell.states, cell.outputs)
    except Untraceable:
        raise
    except Exception as error:  # third-party code: whatever it raises is a reason not to compile it
        log.info("tracing a cell raised %s: %s", type(error).__name__, error, exc_info=True)
        raise Untraceable(f"tracing it raised {type(error).__name__}: {error}") from error
    roots = [*core.outputs.values(), *core.gradients.values(), *core.totals.values()]
    new = simplified(graph, extents, axes[0], roots)
    core = Traced(
        *({name: new[node] for name, node in part.items()} for part in (core.outputs, core.gradients, core.totals))
    )
    plan = ScanPlan(
        type(cell).__name__, axes, groups["x"], groups["p"], groups["s"], dict(cell.outputs), core, extents, graph
    )
    check_lanes(plan)
    check_matrices(plan)
    return plan


def check_lanes(plan: ScanPlan) -> None:
    """Whether the lanes are independent.

    Raises:
        Untraceable: when they are not.
    """
    lanes = plan.axes[0]
    summing = [name for name, own in plan.outputs.items() if lanes not in own]
    for name in summing:
        if not adds_up(plan, plan.core.outputs[name]):
            raise Untraceable(f"its output {name} is no sum over the cell's first axis, {lanes}, and has not that axis")
    others = [node for name, node in plan.core.outputs.items() if name not in summing]
    if any(plan.over_lanes(node) for node in reachable(others)):
        raise Untraceable(f"it sums over the cell's first axis, {lanes}, along which the compiled loop works in parts")
    gradients = [*plan.core.gradients.values(), *plan.core.totals.values()]
    late = late_nodes(plan, gradients)
    for node in reachable(gradients):
        if node.value == f"size:{lanes}" or (plan.kind(node).has_lanes and node in late):
            raise Untraceable(f"its gradient is no sum over parts of the cell's first axis, {lanes}")


def adds_up(plan: ScanPlan, node: Node) -> bool:
    """Whether a value is the sum of what it is for parts of the lanes."""
    if plan.over_lanes(node):
        return not late_nodes(plan, [*node.args])
    if node.op in ("add", "sub", "neg"):
        return all(adds_up(plan, arg) for arg in node.args)
    late = [arg for arg in node.args if late_nodes(plan, [arg])]
    return node.op == "mul" and len(late) == 1 and not plan.kind(node).has_lanes and adds_up(plan, late[0])


def check_matrices(plan: ScanPlan) -> None:
    """Whether square matrices are multiplied by, and nothing else.

    Raises:
        Untraceable: when they are not.
    """
    core = plan.core
    for node in reachable([*core.outputs.values(), *core.gradients.values(), *core.totals.values()]):
        product = node.op in (TIMES, TURNED)
        if product and plan.kind(node.args[0]) is not Kind.TILE:
            raise Untraceable("it multiplies by a square matrix what has not both axes")
        if not product and any(plan.kind(arg) is Kind.MATRIX for arg in node.args):
            raise Untraceable("it uses a square matrix other than in one product")


def late_nodes(plan: ScanPlan, roots: list[Node]) -> set[Node]:
    """Those of the nodes that need a sum over the lanes."""
    late: set[Node] = set()
    for node in reachable(roots):
        if plan.over_lanes(node) or any(arg in late for arg in node.args):
            late.add(node)
    return late
