"""Weights that a cell computes from other tensors once a pass, with derivatives of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from longlag.kernels.autograd import once_differentiable

Adjoint = Callable[[Tensor], tuple[Tensor, ...]]
"""From the gradient by a weight to those by the tensors that it was computed from."""


@dataclass(frozen=True)
class Derived:
    """A weight that is computed from other tensors.

    By itself it is one more node of the autograd graph. A compiled kernel computes it within its own node, which on
    small matrices saves as much time as the computation takes.

    Args:
        inputs: what it is computed from; gradients flow to them.
        compute: ``compute(*inputs)`` gives the weight, computed without autograd, and the adjoint.
    """

    inputs: tuple[Tensor, ...]
    compute: Callable[..., tuple[Tensor, Adjoint]]

    def tensor(self) -> Tensor:
        """The weight, differentiable once."""
        result: Tensor = Computed.apply(self.compute, *self.inputs)  # type: ignore[no-untyped-call]
        return result


class Computed(torch.autograd.Function):
    """``apply(compute, *inputs)`` -> the weight."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., tuple[Tensor, Adjoint]], *inputs: Tensor) -> Tensor:
        weight, ctx.adjoint = compute(*inputs)
        return weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.adjoint(gradient)
