"""What stands around a recurrence at every step by itself: norms, gates, and the dense products between them.

A function of rows computes element by element and sums along a row, from inputs ``[..., k]`` and from parameters that
are the same for every row. By torch each of its operations passes over memory once in every direction, and sequences
are long. Stated as a pure core it is compiled, with its derivative, like the core of a cell. A chain
(`longlag.kernels.chain`) joins such functions and dense products: a few rows at a time go through all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.kernels.autograd import apply, once_differentiable
from longlag.kernels.chain import Apply, Chain, Dense
from longlag.kernels.columns import rows_contiguous
from longlag.kernels.compiled import ANY, compiled_chain
from longlag.kernels.recurrence import Named
from longlag.kernels.scan_function import differentiable
from longlag.kernels.targets.target import ChainKernel


class RowFunction(ABC):
    """A function of rows; a subclass declares its tensors and writes `core` with torch functions only.

    Attributes:
        inputs: names of tensors ``[..., k]``.
        parameters: names of tensors ``[m, k]``: of rows in a row, every m-th reads the same one.
        outputs: names of the results, each ``[..., k]``.
    """

    inputs: ClassVar[tuple[str, ...]]
    parameters: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[tuple[str, ...]]

    @abstractmethod
    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        """The results by name, element by element, with `sum` and `mean` along the row."""

    def sum(self, values: Tensor) -> Tensor:
        """The sum along the row, which stays, with size 1."""
        return values.sum(-1, keepdim=True)

    def mean(self, values: Tensor) -> Tensor:
        """The mean along the row: no core knows how long that is."""
        return self.sum(values) / self.sum(torch.ones_like(values))

    @cached_property
    def alone(self) -> Chain:
        """The chain of this function."""
        groups = (("x", self.inputs), ("p", self.parameters), ("y", self.outputs))
        x, p, y = (tuple(f"{kind}_{name}" for name in group) for kind, group in groups)
        return Chain(type(self).__name__, x, p, (Apply(self, x, y, p),), y)


def run_rows(
    function: RowFunction, inputs: Mapping[str, Tensor], parameters: Mapping[str, Tensor], kernel: str = "auto"
) -> Mapping[str, Tensor]:
    """The results of a function of rows.

    Args:
        function: what is computed.
        inputs: every tensor ``[..., k]``, of one shape.
        parameters: every tensor ``[m, k]``; m divides the last but one size of the inputs, or is 1.
        kernel: ``plain`` for torch's operations; anything else for compiled ones where there are such.
    """
    x = [inputs[name] for name in function.inputs]
    p = [parameters[name] for name in function.parameters]
    return dict(zip(function.outputs, run(function.alone, x, p, max(0, x[0].dim() - 2), kernel), strict=True))


def run_chain(
    chain: Chain, inputs: Mapping[str, Tensor], parameters: Mapping[str, Tensor], lead: int = 2, kernel: str = "auto"
) -> Mapping[str, Tensor]:
    """The results of a chain.

    Args:
        chain: what is computed.
        inputs: tensors whose first `lead` axes are those of the rows, the same in all.
        parameters: weights ``[O, C]``, biases ``[O]``, and ``[m, K]`` of functions.
        lead: axes of the rows.
        kernel: as for `run_rows`.
    """
    x, p = [inputs[name] for name in chain.inputs], [parameters[name] for name in chain.parameters]
    return dict(zip(chain.outputs, run(chain, x, p, lead, kernel), strict=True))


def run(chain: Chain, inputs: list[Tensor], parameters: list[Tensor], lead: int, kernel: str) -> Sequence[Tensor]:
    some, given = inputs[0], [*inputs, *parameters]
    if kernel != "plain" and some.numel():
        found = compiled_chain(chain, some.dtype, some.device, ANY if kernel == "auto" else kernel)
        needed = differentiable(some.dtype, some.device, given)
        if not isinstance(found, str) and not isinstance(needed, str):
            given = [
                tensor if k < len(inputs) and lies_in_rows(tensor, lead) else tensor.contiguous()
                for k, tensor in enumerate(given)
            ]
            if needed and torch.is_grad_enabled():
                return tuple(apply(RunChain, found, lead, len(inputs), *given))
            with torch.no_grad():
                return found.forward(given[: len(inputs)], given[len(inputs) :], lead, False)[0]
    return plain(chain, inputs, parameters, lead)


def lies_in_rows(tensor: Tensor, lead: int) -> bool:
    """Whether the first axes, which a view may split, are one axis in memory, and the others are contiguous."""
    long = [(size, stride) for size, stride in zip(tensor.shape[:lead], tensor.stride(), strict=False) if size > 1]
    flat = all(before == size * after for (_, before), (size, after) in pairwise(long))
    return flat and rows_contiguous(tensor, tensor.dim() - lead)


class RunChain(torch.autograd.Function):
    """``apply(kernel, axes of the rows, number of inputs, *inputs, *parameters)`` -> results."""

    @staticmethod
    def forward(ctx: Any, kernel: ChainKernel, lead: int, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.kernel, ctx.lead, ctx.count, ctx.given = kernel, lead, count, len(tensors)
        ctx.places = kernel.places(tensors[:count], lead)
        outputs, kept = kernel.forward(tensors[:count], tensors[count:], lead, True)
        ctx.save_for_backward(*tensors, *kept)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors, kept = ctx.saved_tensors[: ctx.given], ctx.saved_tensors[ctx.given :]
        arrived = [grad.contiguous() for grad in grads]
        found = ctx.kernel.backward(
            tensors[: ctx.count], tensors[ctx.count :], kept, ctx.places, arrived, ctx.lead, ctx.needs_input_grad[3:]
        )
        return None, None, None, *found


def plain(chain: Chain, inputs: Sequence[Tensor], parameters: Sequence[Tensor], lead: int) -> tuple[Tensor, ...]:
    """The results of a chain by torch's operations, on any device."""
    known = dict(zip(chain.inputs, inputs, strict=True))
    given = dict(zip(chain.parameters, parameters, strict=True))
    for step in chain.steps:
        if isinstance(step, Dense):
            bias = None if step.bias is None else given[step.bias]
            products = [F.linear(known[value].flatten(lead), given[weight]) for value, weight in step.terms]
            total = sum(products[1:], products[0])
            known[step.result] = total if bias is None else total + bias
            if step.parts:
                known.update(zip(step.parts, known[step.result].chunk(len(step.parts), -1), strict=True))
        else:
            shape = known[step.values[0]].shape
            size = given[step.parameters[0]].shape[-1] if step.parameters else shape[-1]
            values = [known[value].flatten(lead).unflatten(-1, (-1, size)) for value in step.values]
            x = dict(zip(step.function.inputs, values, strict=True))
            p = dict(zip(step.function.parameters, (given[name] for name in step.parameters), strict=True))
            results = step.function.core(Named(x), Named(p))
            made = (results[name].reshape(shape) for name in step.function.outputs)
            known.update(zip(step.results, made, strict=True))
    return tuple(known[name] for name in chain.outputs)
