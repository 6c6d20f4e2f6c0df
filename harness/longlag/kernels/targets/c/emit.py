"""Print traced functions as C: one function per stage and direction, each a loop over the units of one example."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from longlag.kernels.compiler.graph import Node, reachable
from longlag.kernels.compiler.plan import Plan, free_nodes

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|",
}  # fmt: skip


def identifier(name: str) -> str:
    """A name of the cell as a C identifier."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def number(value: float) -> str:
    if math.isnan(value):
        return "(real)NAN"
    if math.isinf(value):
        return "(real)INFINITY" if value > 0 else "(-(real)INFINITY)"
    return f"(real){value!r}" if value >= 0 else f"(real)({value!r})"


class Body:
    """The statements of one loop body.

    Args:
        loads: values that are read rather than computed, with the name of the variable and the C expression.
    """

    def __init__(self, loads: Mapping[Node, tuple[str, str]]) -> None:
        self.loads = loads
        self.names: dict[Node, str] = {}
        self.lines: list[str] = []

    def add(self, roots: Iterable[Node]) -> None:
        """Statements that compute `roots`."""
        for node in reachable(list(roots), self.loads):
            if node in self.names or node.op == "const" or node.is_bool:
                continue
            if node in self.loads:
                name, source = self.loads[node]
                self.lines.append(f"const real {name} = {source};")
            elif node.op == "input":
                raise AssertionError(f"{node.value} is neither loaded nor computed")
            else:
                name = f"v{node.number}"
                self.lines.append(f"const real {name} = {self.expression(node)};")
            self.names[node] = name

    def text(self, node: Node) -> str:
        """The C text of a value: its variable, or its expression where it has none."""
        if node in self.names:
            return self.names[node]
        return number(node.value) if isinstance(node.value, float) else f"({self.expression(node)})"

    def expression(self, node: Node) -> str:
        parts = [self.text(arg) for arg in node.args]
        if node.op in INFIX:
            return f"{parts[0]} {INFIX[node.op]} {parts[1]}"
        if node.op == "neg":
            return f"-{parts[0]}"
        if node.op == "not":
            return f"!{parts[0]}"
        if node.op == "select":
            return f"{parts[0]} ? {parts[1]} : {parts[2]}"
        return f"ll_{node.op}({', '.join(parts)})"


def leaves(plan: Plan, slots: bool, gradients: tuple[str, ...] = ()) -> dict[Node, tuple[str, str]]:
    """How the inputs of a stage are read."""
    graph = plan.graph
    found: dict[Node, tuple[str, str]] = {}
    if slots:
        for k, name in enumerate(plan.slots):
            found[graph.input(f"g:{name}")] = (f"g_{identifier(name)}", f"pre[{k} * H + j]")
    for k, name in enumerate(plan.states):
        found[graph.input(f"s:{name}")] = (f"s_{identifier(name)}", f"old[{k}][j]")
    for k, name in enumerate(plan.units):
        found[graph.input(f"p:{name}")] = (f"p_{identifier(name)}", f"unit[{k}][j]")
    for k, name in enumerate(gradients):
        outside = gradients is plan.states and name in plan.outputs  # an output's gradient from outside comes on top
        outer = f" + outer[{k}][j]" if outside else ""
        found[graph.input(f"d:{name}")] = (f"d_{identifier(name)}", f"grad[{k}][j]{outer}")
    return found


def saved_values(plan: Plan, gradients: tuple[str, ...]) -> dict[Node, tuple[str, str]]:
    """How the backward pass reads what the forward pass left."""
    found = leaves(plan, slots=False, gradients=gradients)
    for k, node in enumerate(plan.saved):
        name = identifier(f"{node.value}") if node.op == "input" else f"v{node.number}"
        found[node] = (name, f"saved[{k} * H + j]")
    states = [name for name in plan.states if plan.core.outputs[name] in free_nodes(plan.core, plan.states)]
    for name in reversed(states):
        k = plan.states.index(name)
        found[plan.core.outputs[name]] = (f"n_{identifier(name)}", f"new[{k}][j]")
    return found


def loop(name: str, comment: str, arguments: str, body: Body, stores: Iterable[str]) -> str:
    lines = "\n".join(f"        {line}" for line in [*body.lines, *stores])
    arguments = f"long H, {arguments}, const real *const *unit"
    names = [argument.split()[-1].lstrip("*") for argument in arguments.split(",")]
    unused = [name for name in names if not re.search(rf"\b{name}\b", lines) and name != "H"]
    return (
        f"/* {comment} */\n"
        f"static void {name}({arguments}) {{\n"
        + "".join(f"    (void){name};\n" for name in unused)
        + f"    SIMD\n    for (long j = 0; j < H; j++) {{\n{lines}\n    }}\n}}\n"
    )


def saved_stores(plan: Plan, body: Body, nodes: Iterable[Node]) -> list[str]:
    """Statements that compute and keep those of the saved values that are among `nodes`."""
    places = {node: k for k, node in enumerate(plan.saved)}
    stored = [node for node in nodes if node in places]
    body.add(stored)
    return [f"saved[{places[node]} * H + j] = {body.text(node)};" for node in stored]


def early_nodes(plan: Plan) -> list[Node]:
    """What the first stage computes or reads."""
    return [] if plan.first is None else list(reachable(list(plan.first.outputs.values())))


def forward_core(plan: Plan) -> str:
    body = Body(leaves(plan, slots=True))
    results = [plan.core.outputs[name] for name in plan.states]
    body.add(results)
    early = set(early_nodes(plan))
    stores = [f"new[{k}][j] = {body.text(node)}; /* {plan.states[k]} */" for k, node in enumerate(results)]
    stores += saved_stores(plan, body, [node for node in plan.saved if node not in early])
    return loop(
        "forward_core",
        "one example, one step: pre-activations and old states to new states",
        "const real *pre, const real *const *old, real *const *new, real *saved",
        body,
        stores,
    )


def forward_first(plan: Plan) -> str:
    assert plan.first is not None
    body = Body(leaves(plan, slots=True))
    results = [plan.first.outputs[name] for name in plan.intermediates]
    body.add(results)
    stores = [f"middle[{k}][j] = {body.text(n)}; /* {plan.intermediates[k]} */" for k, n in enumerate(results)]
    stores += saved_stores(plan, body, early_nodes(plan))
    return loop(
        "forward_first",
        "the first stage: the intermediates that the products of the second stage read",
        "const real *pre, const real *const *old, real *const *middle, real *saved",
        body,
        stores,
    )


def unit_stores(plan: Plan, body: Body, gradients: Mapping[str, Node]) -> list[str]:
    zero = plan.graph.const(0)
    return [
        f"grad_unit[{k} * H + j] += {body.text(gradients[f'p:{name}'])}; /* {name} */"
        for k, name in enumerate(plan.units)
        if gradients[f"p:{name}"] is not zero
    ]


def early_alone(plan: Plan) -> set[str]:
    """Slots whose gradients come from the first stage alone."""
    if plan.first is None:
        return set()
    zero = plan.graph.const(0)
    own = plan.first.gradients
    return {n for n in plan.early if plan.core.gradients[f"g:{n}"] is zero and own[f"g:{n}"] is not zero}


def backward_core(plan: Plan) -> str:
    body = Body(saved_values(plan, plan.states))
    gradients = plan.core.gradients
    middle = [] if plan.first is None else [plan.first.outputs[name] for name in plan.intermediates]
    totals = [plan.core.totals[name] for name in plan.states]
    body.add([*gradients.values(), *middle, *totals])
    stores = [
        f"dpre[{k} * H + j] = {body.text(gradients[f'g:{n}'])}; /* {n} */"
        for k, n in enumerate(plan.slots)
        if n not in early_alone(plan)
    ]
    stores += [f"grad[{k}][j] = {body.text(gradients[f's:{n}'])}; /* {n} */" for k, n in enumerate(plan.states)]
    stores += [f"middle[{k}][j] = {body.text(n)}; /* {plan.intermediates[k]} */" for k, n in enumerate(middle)]
    stores += [f"total[{k} * H + j] = {body.text(n)}; /* {plan.states[k]} */" for k, n in enumerate(totals)]
    return loop(
        "backward_core",
        "one example, one step: gradients of the new states to those of the old states and the pre-activations",
        "const real *saved, const real *const *old, const real *const *new, real *const *grad,\n"
        "        const real *const *outer, real *dpre, real *const *middle, real *total, real *grad_unit",
        body,
        [*stores, *unit_stores(plan, body, gradients)],
    )


def backward_first(plan: Plan) -> str:
    assert plan.first is not None
    body = Body(saved_values(plan, plan.intermediates))
    gradients = plan.first.gradients
    zero = plan.graph.const(0)
    body.add(gradients.values())
    stores = [
        f"dpre[{k} * H + j] {'=' if n in early_alone(plan) else '+='} {body.text(gradients[f'g:{n}'])}; /* {n} */"
        for k, n in enumerate(plan.slots)
        if n in plan.early and gradients[f"g:{n}"] is not zero
    ]
    stores += [
        f"carry[{k}][j] += {body.text(gradients[f's:{n}'])}; /* {n} */"
        for k, n in enumerate(plan.states)
        if gradients[f"s:{n}"] is not zero
    ]
    return loop(
        "backward_first",
        "the first stage: gradients of the intermediates to those of the old states and the pre-activations",
        "const real *saved, const real *const *old, const real *const *new, const real *const *grad,\n"
        "        real *dpre, real *const *carry, real *grad_unit",
        body,
        [*stores, *unit_stores(plan, body, gradients)],
    )
