"""Trace a cell's core and its vector-Jacobian product to a graph.

The core runs once on tiny example tensors under a dispatch mode that sees every aten operation, the forward ones as
well as those that autograd runs for the backward pass, and writes each into the graph. That is what torch itself
computes, so the derivatives are torch's own; an operation without a rule in `lower.py` is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from longlag.errors import quoted
from longlag.kernels.compiler.graph import Graph, Node
from longlag.kernels.compiler.lower import Lowering

EXAMPLE_SHAPE = (2, 3)


class Untraceable(Exception):
    """Why a core cannot be compiled, as one clause: "it uses aten.roll, which ..."."""


def check_names(*names: str) -> None:
    """Let only identifiers reach a target, which prints names of a cell into source text.

    Raises:
        Untraceable: for any other name.
    """
    for name in names:
        if not (name.isascii() and name.isidentifier()):
            raise Untraceable(f"its name {quoted(name)} should be letters, digits and underscores")


@dataclass(frozen=True)
class Traced:
    """A pointwise function and its derivative.

    `outputs[name]` is a value computed from the inputs; `gradients[input]` is the gradient with respect to that
    input given the inputs named ``d:<output>``, the gradients that reach the outputs from outside; `totals[output]`
    adds to those what reaches the output through the function's other outputs (an LSTM's ``c`` through its ``h``).
    """

    outputs: dict[str, Node]
    gradients: dict[str, Node]
    totals: dict[str, Node]


class Tracer(TorchDispatchMode):
    """Writes every aten operation on known tensors into `graph`.

    Attributes:
        complaint: what a tensor is that does not fit.
    """

    complaint: ClassVar[str] = "a tensor that has not one value per unit"

    def __init__(self, graph: Graph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = graph
        self.rules = Lowering(graph).rules
        self._bound: dict[int, tuple[Tensor, Node]] = {}  # the tensor is kept, so that its id is not used again

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its whole compiler, a second of time, to keep it away from here."""
        return False

    def bind(self, tensor: Tensor, node: Node) -> None:
        self._bound[id(tensor)] = (tensor, node)

    def node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in self._bound:
            return self._bound[id(value)][1]
        if value.numel() == 1:
            return self.graph.const(value.item())
        raise Untraceable("it uses a tensor that is none of its arguments")

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a function of this kind may make a tensor of that shape."""
        return shape == EXAMPLE_SHAPE

    def special(self, name: str, args: Any, kwargs: Any) -> Any:
        """The nodes of an operation that is no rule of nodes alone; None where there is a rule."""
        return None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        mutates = func._schema.is_mutable
        rule = self.rules.get(name.rstrip("_") if mutates else name)
        if rule is None and name in ("view", "_unsafe_view", "reshape", "expand_as"):
            rule = self.rules["alias"]
        nodes = self.special(name, args, kwargs or {})
        if nodes is not None:
            rule = self.rules["alias"]
        if rule is None or (kwargs and "out" in kwargs):
            raise Untraceable(f"it uses {func}, which the compiler has no rule for")
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor) and tensor.numel() != 1 and not self.fits(tuple(tensor.shape)):
                raise Untraceable(f"it uses {func} to make {self.complaint}")
        options = {k: v for k, v in (kwargs or {}).items() if k not in ("dtype", "layout", "device", "memory_format")}
        try:
            if nodes is None:
                nodes = rule(*map(self.node, args), **{k: self.node(v) for k, v in options.items()})
        except TypeError as error:
            raise Untraceable(f"it uses {func} in a way that the compiler has no rule for ({error})") from error
        if isinstance(result, Tensor):
            self.bind(args[0] if mutates else result, nodes if isinstance(nodes, Node) else self.graph.const(nodes))
        else:
            for tensor, node in zip(result, nodes, strict=True):
                self.bind(tensor, node)
        return result


def trace(
    graph: Graph,
    function: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    inputs: tuple[str, ...],
    names: tuple[str, ...],
) -> Traced:
    """Trace ``function(inputs) -> outputs`` (their `names`), all of one value per unit, with its derivative.

    Raises:
        Untraceable: for an operation without a rule, or one that mixes units.
    """
    generator = torch.Generator().manual_seed(0)
    examples = {
        name: torch.rand(EXAMPLE_SHAPE, dtype=torch.float64, generator=generator).requires_grad_() for name in inputs
    }
    tracer = Tracer(graph)
    for name, tensor in examples.items():
        tracer.bind(tensor, graph.input(name))
    cotangents = {name: torch.ones(EXAMPLE_SHAPE, dtype=torch.float64) for name in names}
    with torch.enable_grad(), tracer:
        values = function(examples)
        results = {name: values[name] for name in names}
        for name, value in results.items():
            if not isinstance(value, Tensor) or tuple(value.shape) != EXAMPLE_SHAPE:
                raise Untraceable(f"its result {name!r} has not one value per unit")
        outputs = {name: graph.number(tracer.node(value)) for name, value in results.items()}
        for name in results:
            tracer.bind(cotangents[name], graph.input(f"d:{name}"))
        differentiable = [name for name, value in results.items() if value.requires_grad]
        found: tuple[Tensor | None, ...] = (None,) * (len(inputs) + len(differentiable))
        if differentiable:
            found = torch.autograd.grad(
                [results[name] for name in differentiable],
                [*examples.values(), *(results[name] for name in differentiable)],
                [cotangents[name] for name in differentiable],
                allow_unused=True,
            )
        nodes = [graph.const(0) if grad is None else graph.number(tracer.node(grad)) for grad in found]
    totals = {name: graph.input(f"d:{name}") for name in results}
    totals.update(zip(differentiable, nodes[len(inputs) :], strict=True))
    return Traced(outputs, dict(zip(inputs, nodes[: len(inputs)], strict=True)), totals)
