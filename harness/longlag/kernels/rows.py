"""Functions of rows: what stands around a recurrence at every step by itself, norms and gates.

Such a function computes element by element and sums along a row, from inputs ``[..., k]`` and from parameters that are
the same for every row. By torch each of its operations passes over memory once in every direction, and sequences are
long. Stated as a pure core it is compiled, with its derivative, like the core of a cell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from longlag.kernels.autograd import apply, once_differentiable
from longlag.kernels.columns import rows_contiguous
from longlag.kernels.compiled import ANY, compiled_rows
from longlag.kernels.recurrence import Named
from longlag.kernels.scan_function import differentiable
from longlag.kernels.targets.target import RowKernel


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
    given = [*(inputs[name] for name in function.inputs), *(parameters[name] for name in function.parameters)]
    some = given[0]
    if kernel != "plain" and some.numel():
        found = compiled_rows(function, some.dtype, some.device, ANY if kernel == "auto" else kernel)
        needed = differentiable(some.dtype, some.device, given)
        if not isinstance(found, str) and not isinstance(needed, str):
            return dict(zip(function.outputs, run(found, given, len(function.inputs), needed), strict=True))
    x, p = (Named({name: group[name] for name in group}) for group in (inputs, parameters))
    return function.core(x, p)


def run(kernel: RowKernel, given: list[Tensor], count: int, needed: bool) -> tuple[Tensor, ...]:
    """The results of compiled rows; the first `count` tensors are inputs. `needed`: whether a gradient may be."""
    tensors = [
        tensor if k < count and rows_contiguous(tensor, 1) and flat(tensor) else tensor.contiguous()
        for k, tensor in enumerate(given)
    ]
    if needed and torch.is_grad_enabled():
        return tuple(apply(RunRows, kernel, count, *tensors))
    with torch.no_grad():
        return tuple(kernel.forward(tensors[:count], tensors[count:]))


def flat(tensor: Tensor) -> bool:
    """Whether all axes but the last two, which a view may split, are one axis in memory."""
    long = [(size, stride) for size, stride in zip(tensor.shape[:-2], tensor.stride(), strict=False) if size > 1]
    return all(before == size * after for (_, before), (size, after) in pairwise(long))


class RunRows(torch.autograd.Function):
    """``apply(kernel, number of inputs, *inputs, *parameters)`` -> results."""

    @staticmethod
    def forward(ctx: Any, kernel: RowKernel, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.kernel, ctx.count = kernel, count
        ctx.places = kernel.places(tensors[:count])
        ctx.save_for_backward(*tensors)
        return tuple(kernel.forward(tensors[:count], tensors[count:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tensors, need = ctx.saved_tensors, ctx.needs_input_grad[2:]
        inputs, parameters = tensors[: ctx.count], tensors[ctx.count :]
        arrived = [grad.contiguous() for grad in grads]
        return None, None, *ctx.kernel.backward(inputs, parameters, ctx.places, arrived, need)
