"""A pass of a kernel as a differentiable function of its tensors, for any target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longlag.kernels.autograd import once_differentiable
from longlag.kernels.derived import Adjoint, Derived
from longlag.kernels.targets.target import Kernel, Maybe, Pass


class Loop(NamedTuple):
    """A pass, and what autograd needs to call it.

    Args:
        kernel: the cell's kernel.
        run: the pass, started by the kernel.
        sizes: of its tensors, as `Kernel.check` takes them.
        derived: the weights to be computed from other tensors, by their index in the flat list.
    """

    kernel: Kernel
    run: Pass
    sizes: tuple[int, ...]
    derived: Sequence[tuple[int, Derived]]

    def derive(self, weights: Sequence[Maybe]) -> tuple[list[Maybe], list[Adjoint]]:
        """All weights, and the adjoints of those that were derived.

        Raises:
            ValueError: when one has the wrong dtype or shape.
        """
        found, adjoints = list(weights), []
        for index, derived in self.derived:
            weight, adjoint = derived.compute(*derived.inputs)
            if weight.dtype != self.kernel.dtype:
                raise ValueError(f"a derived weight is {weight.dtype}, expected {self.kernel.dtype}")
            self.kernel.check(self.sizes, (weight,), index)
            found[index] = weight.contiguous()
            adjoints.append(adjoint)
        return found, adjoints


class Unroll(torch.autograd.Function):
    """``apply(loop, x, *weights, *states, *sources)`` -> outputs over time, final states.

    The sources are what weights are derived from. Weights are flat, None where they are absent or derived.
    """

    @staticmethod
    def forward(ctx: Any, loop: Loop, x: Tensor, *tensors: Maybe) -> tuple[Tensor, ...]:
        n, m = loop.kernel.n_weights, loop.kernel.n_weights + loop.kernel.n_states
        initial, sources = tensors[n:m], tensors[m:]
        weights, ctx.adjoints = loop.derive(tensors[:n])
        ctx.loop = loop
        ctx.set_materialize_grads(False)
        outputs, final, saved = loop.run.forward(x, weights, initial, True)  # type: ignore[arg-type]
        ctx.save_for_backward(x, *weights, *initial, *sources, *saved)
        return (outputs, *final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        loop: Loop = ctx.loop
        n, m = loop.kernel.n_weights, loop.kernel.n_weights + loop.kernel.n_states
        x, *rest = ctx.saved_tensors
        _, need_x, *need = ctx.needs_input_grad
        saved = rest[len(need) :]  # behind the sources, which are saved so that torch guards them
        by_outputs, *by_final = [None if g is None else g.contiguous() for g in grads]
        if loop.derived:
            indices = {index for index, _ in loop.derived}
            need = [index in indices or needed for index, needed in enumerate(need)]
        by_x, by_weights, by_initial = loop.run.backward(
            x, rest[:n], rest[n:m], saved, by_outputs, by_final, need_x, need[:m]
        )
        if need_x and by_x is None:
            by_x = torch.zeros_like(x)
        by_sources: list[Tensor] = []
        for (index, _), adjoint in zip(loop.derived, ctx.adjoints, strict=True):
            by_weight = by_weights[index]
            assert by_weight is not None, "a target left out the gradient of a derived weight"
            by_sources += adjoint(by_weight)
            by_weights[index] = None
        return (None, by_x, *by_weights, *by_initial, *by_sources)


def infer(loop: Loop, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same, with nothing kept for a backward pass."""
    whole, _ = loop.derive(weights)
    outputs, final, _ = loop.run.forward(x, whole, initial, False)
    return (outputs, *final)
