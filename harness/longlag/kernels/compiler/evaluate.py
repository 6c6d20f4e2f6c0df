"""Compute the nodes of a graph from a table of functions: for targets that interpret a plan rather than print it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from longlag.kernels.compiler.graph import Node, reachable


def evaluate(
    roots: Iterable[Node],
    known: Mapping[Node, Any],
    operations: Mapping[str, Callable[..., Any]],
    constant: Callable[[float], Any],
) -> dict[Node, Any]:
    """The values of `roots`, and of every node on the way.

    Args:
        roots: the nodes to compute.
        known: the values of inputs, and of nodes that need not be computed.
        operations: the function of every operation, by its name in the graph.
        constant: makes a value of a number.

    Raises:
        KeyError: for an operation without a function, or an input without a value.
    """
    values = dict(known)
    for node in reachable(list(roots), known):
        if node not in values:
            if node.op == "const":
                assert isinstance(node.value, float)
                values[node] = constant(node.value)
            elif node.op == "input":
                raise KeyError(f"the input {node.value} has no value")
            else:
                values[node] = operations[node.op](*(values[arg] for arg in node.args))
    return values
