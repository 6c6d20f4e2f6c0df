"""The flat graph of a pointwise function: the tracer writes it, targets read it.

A `Graph` makes nodes and never makes the same expression twice, so common sub-expressions are merged as they
arise; constants are folded on the way, and dead code never shows because only what the roots reach is read.
Nothing is rewritten that could lose a NaN or an infinity: ``x * 0`` stays, ``x + 0`` and ``x * 1`` go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
LOGIC = frozenset({"and", "or", "not"})
COMMUTATIVE = frozenset({"add", "mul", "max", "min", "eq", "ne", "and", "or"})
CHEAP = frozenset({"add", "sub", "mul", "neg", "abs", "max", "min", "select", "sign", "floor", *COMPARISONS, *LOGIC})
FOLD = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}
"""Arithmetic on two constants that is done at compile time."""


@dataclass(frozen=True, eq=False)
class Node:
    """One value per unit. `op` is ``const`` (value: a float), ``input`` (value: its name) or an operation.

    Nodes compare by identity: the graph makes equal expressions the same object.
    """

    number: int
    op: str
    args: tuple[Node, ...] = ()
    value: float | str | None = None

    @property
    def is_bool(self) -> bool:
        return self.op in COMPARISONS or self.op in LOGIC

    @property
    def is_leaf(self) -> bool:
        return self.op in ("const", "input")

    @property
    def cost(self) -> int:
        """Rough cycles a vector, to decide what is worth saving in the forward pass."""
        if self.is_leaf:
            return 0
        return 1 if self.op in CHEAP else 10


class Graph:
    """Makes nodes; equal expressions are the same node."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[object, ...], Node] = {}

    def const(self, value: float) -> Node:
        return self._intern("const", (), float(value))

    def input(self, name: str) -> Node:
        return self._intern("input", (), name)

    def make(self, op: str, *args: Node) -> Node:
        """The node of ``op(*args)``, simplified where that is exact for every value, NaN and infinity included."""
        if op in COMMUTATIVE:
            args = tuple(sorted(args, key=lambda node: node.number))
        return self._simplify(op, args) or self._intern(op, args, None)

    def number(self, node: Node) -> Node:
        """A truth value as 1 or 0, anything else as it is."""
        return self.make("select", node, self.const(1), self.const(0)) if node.is_bool else node

    def _simplify(self, op: str, args: tuple[Node, ...]) -> Node | None:
        values = [node.value if node.op == "const" else None for node in args]
        if op in FOLD and isinstance(values[0], float) and isinstance(values[1], float):
            return self.const(FOLD[op](values[0], values[1]))
        if op == "neg":
            if isinstance(values[0], float):
                return self.const(-values[0])
            return args[0].args[0] if args[0].op == "neg" else None
        if op in ("add", "mul"):
            unit = 0.0 if op == "add" else 1.0
            for k in (0, 1):
                if values[k] == unit:
                    return args[1 - k]
                if op == "mul" and values[k] == -1.0:
                    return self.make("neg", args[1 - k])
        if op == "sub" and values[1] == 0.0:
            return args[0]
        if op == "div" and values[1] == 1.0:
            return args[0]
        if op == "select" and args[1] is args[2]:
            return args[1]
        return None

    def _intern(self, op: str, args: tuple[Node, ...], value: float | str | None) -> Node:
        # repr keeps 0.0 and -0.0 apart, and makes NaN equal to itself
        key = (op, tuple(node.number for node in args), repr(value))
        if key not in self._nodes:
            self._nodes[key] = Node(len(self._nodes), op, args, value)
        return self._nodes[key]


def reachable(roots: Iterable[Node], given: Iterable[Node] = ()) -> Iterator[Node]:
    """Every node that computing `roots` needs, arguments first; the search stops at `given` (yielded as well)."""
    stop = set(given)
    seen: set[Node] = set()
    stack = [(node, False) for node in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if node not in stop:
                stack.extend((child, False) for child in reversed(node.args))
