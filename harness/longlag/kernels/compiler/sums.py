"""Simplify the sums of a graph over axes: factors that do not change along the axis go outside, sums over lanes join.

A product with a tile is done once for every element of it. Moved out of a sum over the second axis a factor is
multiplied once for every lane; grouped with the lanes' other factors it is as well. And every sum over the lanes takes
as long as some products do, so two that are added become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from longlag.kernels.compiler.axes import SUM, Extents, summed
from longlag.kernels.compiler.graph import Graph, Node, reachable


def simplified(graph: Graph, extents: Extents, lanes: str, roots: Iterable[Node]) -> Mapping[Node, Node]:
    """What every node that `roots` need becomes."""
    new: dict[Node, Node] = {}
    for node in reachable(list(roots)):
        args = [new[arg] for arg in node.args]
        axis = summed(node)
        if node.is_leaf:
            new[node] = node
        elif axis is not None:
            new[node] = total(graph, extents, lanes, axis, args[0])
        elif node.op == "add" and all(arg.op == f"{SUM}{lanes}" for arg in args):
            parts = [arg.args[0] for arg in args]
            alike = extents.of(parts[0]) == extents.of(parts[1])
            new[node] = graph.make(f"{SUM}{lanes}", graph.make("add", *parts)) if alike else graph.make("add", *args)
        else:
            new[node] = graph.make(node.op, *args)
    return new


def total(graph: Graph, extents: Extents, lanes: str, axis: str, node: Node) -> Node:
    """The sum of `node` over `axis`, what is the same along it outside; scalars go with a factor of lanes alone."""
    negative, factors, stack = False, [], [node]
    while stack:
        part = stack.pop()
        if part.op == "mul":
            stack += part.args[::-1]
        elif part.op == "neg":
            negative, stack = not negative, [*stack, part.args[0]]
        else:
            factors.append(part)
    groups: dict[frozenset[str], Node] = {}
    for factor in factors:
        own = extents.of(factor)
        groups[own] = graph.make("mul", groups[own], factor) if own in groups else factor
    number, alone = frozenset[str](), frozenset([lanes])
    if axis == lanes and alone in groups:
        if number in groups:
            groups[alone] = graph.make("mul", groups[alone], groups.pop(number))
        if negative:
            groups[alone], negative = graph.make("neg", groups[alone]), False
    inside = product(graph, [part for own, part in groups.items() if axis in own])
    outside = product(graph, [part for own, part in groups.items() if axis not in own])
    if inside is None:
        return graph.make(f"{SUM}{axis}", node)
    result = graph.make(f"{SUM}{axis}", inside)
    if outside is not None:
        result = graph.make("mul", outside, result)
    return graph.make("neg", result) if negative else result


def product(graph: Graph, factors: list[Node]) -> Node | None:
    """The product of factors in their order; None of none."""
    result: Node | None = None
    for factor in factors:
        result = factor if result is None else graph.make("mul", result, factor)
    return result
