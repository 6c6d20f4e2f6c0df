"""Cores over states with axes: which axes a node has, and tracing such a core with its derivative.

The example tensors have one prime number of elements along each axis, so that a tensor's shape says its axes. A sum
over an axis becomes a node ``sum:<axis>``, a product with a square matrix a node ``times``; everything else is the
pointwise language of `lower.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from longlag.kernels.compiler.graph import Graph, Node
from longlag.kernels.compiler.trace import Traced, Tracer, Untraceable
from longlag.kernels.scan import Axes, square

HEADS = 2
"""Examples and heads of the example tensors, together."""
SIZES = ((3, 5), (7, 11))
"""Of the axes of the example tensors. A core is traced with both: a size that it uses as a number would differ."""
SUM = "sum:"
TIMES, TURNED, OUTER = "times", "times_turned", "outer"
"""Products along the second axis: sum_v a[v] M[v, w], sum_w a[w] M[v, w]; and the gradient by M, sum a[v] b[w]."""
MATRIX = "matrix"
"""In place of the axes of M and its gradient."""

Own = frozenset[str]
"""The axes of a node, in no order."""


def summed(node: Node) -> str | None:
    """The axis that a node sums over; None for other operations."""
    return node.op.removeprefix(SUM) if node.op.startswith(SUM) else None


class Extents:
    """The axes of the nodes of a graph, from those of its inputs."""

    def __init__(self, inputs: Mapping[str, Axes]) -> None:
        self.inputs = inputs
        self._known: dict[Node, Own] = {}

    def of(self, node: Node) -> Own:
        """The axes along which a node's values differ."""
        if node not in self._known:
            if node.op == "input":
                own = self.inputs.get(str(node.value), ())
                found = frozenset([MATRIX] if square(own) else own)
            elif node.op in (TIMES, TURNED):
                found = self.of(node.args[0])
            elif node.op == OUTER:
                found = frozenset([MATRIX])
            else:
                found = frozenset[str]().union(*map(self.of, node.args)) - {summed(node)}
            self._known[node] = found
        return self._known[node]


class AxesTracer(Tracer):
    """Writes the operations of a core over axes, sums included."""

    complaint = "a tensor that has other axes than the cell"

    def __init__(self, graph: Graph, axes: Axes, extents: Extents, sizes: tuple[int, ...]) -> None:
        super().__init__(graph)
        self.axes, self.extents = axes, extents
        self.shape = (HEADS, *sizes[: len(axes)])

    def fits(self, shape: tuple[int, ...]) -> bool:
        short = (1,) * (len(self.shape) - len(shape)) + shape
        if len(self.axes) == 2 and shape in ((HEADS, *self.shape[:0:-1]), (HEADS, *self.shape[2:] * 2)):
            return True  # a transposed tile, or a square matrix: of use to a product alone
        return len(short) == len(self.shape) and all(a in (1, b) for a, b in zip(short, self.shape, strict=True))

    def special(self, name: str, args: Any, kwargs: Any) -> Any:
        """The nodes of an operation that needs to see shapes; None for the others."""
        if name == "sum":
            return self._sum(*args, **kwargs)
        if name == "transpose" and {dim % args[0].dim() for dim in args[1:]} == {1, 2}:
            return self.graph.make("transpose", self.node(args[0]))
        if name == "bmm":
            return self._product(*map(self.node, args))
        return None

    def _product(self, a: Node, b: Node) -> Node:
        turned = b.op == "transpose"
        matrix = b.args[0] if turned else b
        if self.extents.of(matrix) == {MATRIX}:
            return self.graph.make(TURNED if turned else TIMES, a, matrix)
        if a.op == "transpose" and not turned:
            return self.graph.make(OUTER, a.args[0], b)
        raise Untraceable("it multiplies matrices of which the second is no parameter with one axis twice")

    def _sum(self, values: Tensor, dims: Any = None, keepdim: bool = False, **_: Any) -> Node:
        dims = range(values.dim()) if dims is None else dims
        dims = sorted((dim % values.dim() for dim in dims), reverse=True)  # the lanes last: only then few are left
        node: Node = self.node(values)
        for dim in dims:
            size, k = values.shape[dim], dim % values.dim() - (values.dim() - len(self.axes))
            if size == 1:
                continue
            if not keepdim or k < 0:
                raise Untraceable("it sums without keeping the axis: use the cell's own sum")
            axis = self.axes[k]
            if axis in self.extents.of(node):
                node = self.graph.make(f"{SUM}{axis}", node)
            else:
                node = self.graph.make("mul", node, self.graph.input(f"size:{axis}"))
        return node


def trace_core(
    graph: Graph,
    function: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    axes: Axes,
    inputs: Mapping[str, Axes],
    states: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
) -> tuple[Traced, Extents]:
    """Trace ``function(inputs) -> states and outputs`` with its derivative.

    Returns:
        The traced function, and the axes of all its nodes: `inputs`, and ``d:<name>`` for what reaches a result.

    Raises:
        Untraceable: for an operation without a rule.
    """
    extents = Extents({**inputs, **{f"d:{name}": own for name, own in {**states, **outputs}.items()}})
    first, second = (trace_once(graph, extents, function, axes, inputs, states, outputs, sizes) for sizes in SIZES)
    if first != second:  # equal expressions are one node
        raise Untraceable("it uses the number of elements along an axis, which is not known: take the cell's own mean")
    return first, extents


def trace_once(
    graph: Graph,
    extents: Extents,
    function: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    axes: Axes,
    inputs: Mapping[str, Axes],
    states: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    sizes: tuple[int, ...],
) -> Traced:
    """The same with example tensors of some size."""
    results = {**states, **outputs}
    tracer = AxesTracer(graph, axes, extents, sizes)
    generator = torch.Generator().manual_seed(0)

    def example(own: Axes) -> Tensor:
        shape = [HEADS, *(size if axis in own else 1 for axis, size in zip(axes, sizes, strict=False))]
        shape = [HEADS, sizes[1], sizes[1]] if square(own) else shape
        return torch.rand(shape, dtype=torch.float64, generator=generator)

    examples = {name: example(own).requires_grad_() for name, own in inputs.items()}
    for name, tensor in examples.items():
        tracer.bind(tensor, graph.input(name))
    cotangents = {name: example(own) for name, own in results.items()}
    with torch.enable_grad(), tracer:
        found = dict(function(examples))
        for name, cotangent in cotangents.items():
            value = found.get(name)
            if not isinstance(value, Tensor) or not tracer.fits(tuple(value.shape)):
                raise Untraceable(f"its result {name!r} is missing or has other axes than the cell")
            if value.shape != cotangent.shape and name in outputs:
                found[name] = value.expand(cotangent.shape)
            elif value.shape != cotangent.shape:
                raise Untraceable(f"the state {name!r} that it returns has not the axes of the state")
            tracer.bind(cotangent, graph.input(f"d:{name}"))
        values = {name: graph.number(tracer.node(found[name])) for name in results}
        differentiable = [name for name in results if found[name].requires_grad]
        gradients: tuple[Tensor | None, ...] = (None,) * (len(inputs) + len(differentiable))
        if differentiable:
            gradients = torch.autograd.grad(
                [found[name] for name in differentiable],
                [*examples.values(), *(found[name] for name in differentiable)],
                [cotangents[name] for name in differentiable],
                allow_unused=True,
            )
        nodes = [graph.const(0) if grad is None else graph.number(tracer.node(grad)) for grad in gradients]
    totals = {name: graph.input(f"d:{name}") for name in results}
    totals.update(zip(differentiable, nodes[len(inputs) :], strict=True))
    return Traced(values, dict(zip(inputs, nodes[: len(inputs)], strict=True)), totals)
