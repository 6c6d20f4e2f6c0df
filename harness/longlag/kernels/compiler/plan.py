"""From a cell to what the time loop does: where each gate lies, which products fill it, what is saved for later.

Every gate part that the core reads (``i``, or ``n_x`` and ``n_h`` of a split gate) has a *slot*: H columns of the
pre-activation row of an example. Slots are ordered so that each recurrent product fills neighbouring slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from longlag.kernels.compiler.graph import Graph, Node, reachable
from longlag.kernels.compiler.trace import Traced, Untraceable, check_names, trace
from longlag.kernels.recurrence import Layout, Named, Recurrence
from longlag.log import log

SAVE_COST = 12
"""What writing and reading one saved value costs, in the units of `Node.cost`."""


@dataclass(frozen=True)
class Run:
    """Neighbouring rows of a packed weight that belong to neighbouring slots."""

    row: int
    """The first gate's place in the packed weight."""
    slot: int
    count: int


@dataclass(frozen=True)
class Term:
    """One product per step: `count` slots from `slot` on += source * U', U being a block of ``weight_hh[product]``."""

    stage: int
    product: int
    source: str
    block: int
    """Which block of H columns of the packed weight."""
    blocks: int
    slot: int
    count: int


@dataclass(frozen=True)
class Plan:
    """A cell, laid out and traced: everything that a target builds a kernel from."""

    name: str
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    intermediates: tuple[str, ...]
    units: tuple[str, ...]
    slots: tuple[str, ...]
    early: tuple[str, ...]
    """Slots that the first stage reads."""
    inputs: tuple[Run, ...]
    biases: tuple[Run, ...]
    recurrent_biases: tuple[Run, ...]
    products: int
    terms: tuple[Term, ...]
    first: Traced | None
    core: Traced
    saved: tuple[Node, ...]
    """What the forward pass keeps of every step, besides the states."""
    graph: Graph


def make_plan(cell: Recurrence) -> Plan:
    """Lay out and trace `cell`.

    Raises:
        Untraceable: when its core cannot be compiled.
    """
    layout = Layout.of(cell)
    gates = {gate.name: gate for gate in layout.gates}
    check_names(type(cell).__name__, *gates, *cell.states, *cell.intermediates, *cell.units)

    def recurrent(name: str) -> str:
        return f"{name}_h" if gates[name].split else name

    slots = [recurrent(name) for product in layout.products for name in product.gates]
    for gate in layout.gates:
        parts = [f"{gate.name}_x", f"{gate.name}_h"] if gate.split else [gate.name]
        slots.extend(part for part in parts if part not in slots)
    late = {name for product in layout.products if product.stage == 2 for name in product.gates}
    early = tuple(s for s in slots if s.removesuffix("_x").removesuffix("_h") not in late and s not in late)
    outside = [f"{name}_x" if gates[name].split else name for name in layout.inputs]
    biased = [f"{name}_x" if gates[name].split else name for name in layout.biases]
    terms = []
    for k, product in enumerate(layout.products):
        first_slot = slots.index(recurrent(product.gates[0]))
        for block, source in enumerate(product.sources):
            terms.append(Term(product.stage, k, source, block, len(product.sources), first_slot, len(product.gates)))
    graph = Graph()
    first = None
    if cell.intermediates:
        first = trace_stage(graph, cell.first_stage, early, cell, cell.intermediates)
    core = trace_stage(graph, cell.core, tuple(slots), cell, cell.states)
    return Plan(
        name=type(cell).__name__,
        states=tuple(cell.states),
        outputs=tuple(cell.outputs),
        intermediates=tuple(cell.intermediates),
        units=tuple(cell.units),
        slots=tuple(slots),
        early=early,
        inputs=runs(outside, slots),
        biases=runs(biased, slots),
        recurrent_biases=runs([f"{name}_h" for name in layout.splits], slots),
        products=len(layout.products),
        terms=tuple(terms),
        first=first,
        core=core,
        saved=choose_saved(first, core, cell.states),
        graph=graph,
    )


def runs(names: list[str], slots: list[str]) -> tuple[Run, ...]:
    """The rows `names` of a packed weight, grouped where they belong to neighbouring slots."""
    found: list[Run] = []
    for row, name in enumerate(names):
        slot = slots.index(name)
        if found and found[-1].slot + found[-1].count == slot:
            found[-1] = Run(found[-1].row, found[-1].slot, found[-1].count + 1)
        else:
            found.append(Run(row, slot, 1))
    return tuple(found)


def trace_stage(
    graph: Graph, function: Any, slots: tuple[str, ...], cell: Recurrence, outputs: tuple[str, ...]
) -> Traced:
    """Trace ``function(g, s, p)``; its inputs are named ``g:<slot>``, ``s:<state>`` and ``p:<unit parameter>``."""
    groups = {"g": slots, "s": tuple(cell.states), "p": tuple(cell.units)}

    def flat(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        parts = [Named({n: values[f"{kind}:{n}"] for n in names}) for kind, names in groups.items()]
        result: Mapping[str, Tensor] = function(*parts)
        return result

    inputs = tuple(f"{kind}:{name}" for kind, names in groups.items() for name in names)
    try:
        return trace(graph, flat, inputs, outputs)
    except Untraceable:
        raise
    except Exception as error:  # third-party code: whatever it raises is a reason not to compile it
        log.info("tracing a cell raised %s: %s", type(error).__name__, error, exc_info=True)
        raise Untraceable(f"tracing it raised {type(error).__name__}: {error}") from error


def backward_roots(first: Traced | None, core: Traced) -> list[Node]:
    """What the backward pass computes in every step."""
    roots = [*core.gradients.values(), *core.totals.values()]
    if first is not None:
        roots += [*first.outputs.values(), *first.gradients.values()]
    return roots


def free_nodes(core: Traced, states: tuple[str, ...]) -> list[Node]:
    """Forward values that the backward pass has without saving them: the new states."""
    return [core.outputs[name] for name in states if not core.outputs[name].is_leaf]


def choose_saved(first: Traced | None, core: Traced, states: tuple[str, ...]) -> tuple[Node, ...]:
    """The forward values worth saving: a local search over what the backward pass could start from.

    It starts from the pre-activations and tries to put a value computed from them in their place, the sigmoid of a
    gate for the gate, say; a move is kept when saving and recomputing together get cheaper.
    """
    roots = backward_roots(first, core)
    free = free_nodes(core, states)

    def needs(saved: list[Node]) -> tuple[list[Node], int]:
        """The saved nodes and pre-activations really needed, and the cost."""
        given = {*saved, *free}
        used = list(reachable(roots, given))
        needed = [node for node in used if node in set(saved) - set(free) or is_slot(node)]
        work = sum(node.cost for node in used if node not in given)
        return needed, work + SAVE_COST * len(needed)

    forward = set(reachable([*core.outputs.values(), *(first.outputs.values() if first else ())]))
    candidates = [n for n in reachable(roots) if n in forward and not n.is_leaf and not n.is_bool and n not in free]
    saved, cost = needs([])
    improved = True
    while improved:
        improved = False
        for node in candidates:
            if node not in saved:
                trial, trial_cost = needs([*saved, node])
                if trial_cost < cost:
                    saved, cost, improved = trial, trial_cost, True
    return tuple(sorted(saved, key=lambda node: node.number))


def is_slot(node: Node) -> bool:
    return node.op == "input" and str(node.value).startswith("g:")
