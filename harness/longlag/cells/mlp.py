"""Feed-forward parts of a layer, step by step: a map to more units, a pointwise function of them, and a map back.

On a CPU a few hundred rows go through all three at a time, forward and backward, so that their units stay in the
cache. Of the units only what comes before the function is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.readout import linear
from longlag.kernels import memory
from longlag.kernels.autograd import apply, once_differentiable

Kind = Literal["gelu", "swiglu", "geglu"]
ROWS = 192
"""Rows that go through at a time, for each thread: fewer make slower products, more do not stay in the cache."""


class GatedMLP(nn.Module):
    """W_2 (f(W_1 x) * W_3 x), F units, no biases; f is SiLU or GELU (Shazeer 2020). 3 H F parameters."""

    def __init__(self, kind: Literal["swiglu", "geglu"], size: int, units: int, generator: torch.Generator | None):
        super().__init__()
        self.kind: Kind = kind
        self.widen = linear(size, 2 * units, generator, bias=False)
        self.narrow = linear(units, size, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return feed_forward(self.kind, x, self.widen, self.narrow)


def feed_forward(kind: Kind, x: Tensor, widen: nn.Linear, narrow: nn.Linear) -> Tensor:
    """``narrow(f(widen(x)))`` for ``x [..., H]``.

    Args:
        kind: f. ``gelu``; ``swiglu`` or ``geglu``, where the first half of what `widen` gives goes through SiLU or
            GELU and is multiplied by the second.
        x: inputs.
        widen: the map to the units.
        narrow: the map back.
    """
    if x.device.type != "cpu":
        return narrow(activated(kind, widen(x)))  # type: ignore[no-any-return]
    rows = x.reshape(-1, x.shape[-1])
    made: Tensor = apply(ByRows, kind, rows, widen.weight, widen.bias, narrow.weight, narrow.bias)
    return made.view(*x.shape[:-1], -1)


def activated(kind: Kind, wide: Tensor) -> Tensor:
    """f of the last axis; see `feed_forward`."""
    if kind == "gelu":
        return F.gelu(wide)
    first, second = wide.chunk(2, -1)
    return (F.silu(first) if kind == "swiglu" else F.gelu(first)) * second


class ByRows(torch.autograd.Function):
    """`feed_forward` for ``x [N, H]``; biases may be None."""

    @staticmethod
    def forward(
        ctx: Any, kind: Kind, x: Tensor, w_in: Tensor, b_in: Tensor | None, w_out: Tensor, b_out: Tensor | None
    ) -> Tensor:
        kept = any(ctx.needs_input_grad)
        part = ROWS * torch.get_num_threads()
        units = w_in.shape[0]
        wide = memory.empty((len(x) if kept else min(part, len(x)), units), x.dtype)
        space = _space(part, x, w_out.shape[1])
        outputs = x.new_empty(len(x), w_out.shape[0])
        for rows in _parts(len(x), part):
            before = _product(x[rows], w_in.mT, b_in, wide[rows] if kept else wide[: rows.stop - rows.start])
            _product(_activate(kind, before, space), w_out.mT, b_out, outputs[rows])
        if kept:
            ctx.kind, ctx.part, ctx.biases = kind, part, (b_in is not None, b_out is not None)
            ctx.save_for_backward(x, w_in, w_out, wide)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, w_in, w_out, wide = ctx.saved_tensors
        space = _space(ctx.part, x, w_out.shape[1])
        by_units, by_wide = (x.new_empty(min(ctx.part, len(x)), size) for size in (w_out.shape[1], wide.shape[1]))
        d_x, d_in, d_out = torch.empty_like(x), torch.zeros_like(w_in), torch.zeros_like(w_out)
        sums = [x.new_zeros(len(w)) if has else None for w, has in zip((w_in, w_out), ctx.biases, strict=True)]
        for rows in _parts(len(x), ctx.part):
            d, count = gradient[rows], rows.stop - rows.start
            units = _activate(ctx.kind, wide[rows], space)
            d_out.addmm_(d.mT, units)
            d_units = torch.mm(d, w_out, out=by_units[:count])
            d_wide = _activate_backward(ctx.kind, d_units, wide[rows], by_wide[:count])
            d_in.addmm_(d_wide.mT, x[rows])
            torch.mm(d_wide, w_in, out=d_x[rows])
            for total, each in zip(sums, (d_wide, d), strict=True):
                if total is not None:
                    total.add_(each.sum(0))
        return None, d_x, d_in, sums[0], d_out, sums[1]


def _parts(count: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def _space(rows: int, x: Tensor, units: int) -> Tensor:
    """Where the units of some rows are written."""
    return x.new_empty(min(rows, len(x)), units)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    return torch.mm(x, weight, out=out) if bias is None else torch.addmm(bias, x, weight, out=out)


def _activate(kind: Kind, wide: Tensor, space: Tensor) -> Tensor:
    """`activated`, written to the first rows of `space`."""
    out = space[: len(wide)]
    if kind == "gelu":
        return torch.ops.aten.gelu.out(wide, out=out)  # type: ignore[no-any-return]
    first, second = wide.chunk(2, -1)
    (torch.ops.aten.silu if kind == "swiglu" else torch.ops.aten.gelu).out(first, out=out)
    return out.mul_(second)


def _activate_backward(kind: Kind, d_units: Tensor, wide: Tensor, out: Tensor) -> Tensor:
    """The gradient at `wide`, from the one at the units, written to `out`; `d_units` is overwritten."""
    aten = torch.ops.aten
    if kind == "gelu":
        return aten.gelu_backward.grad_input(d_units, wide, grad_input=out)  # type: ignore[no-any-return]
    (first, second), (d_first, d_second) = wide.chunk(2, -1), out.chunk(2, -1)
    torch.mul(d_units, F.silu(first) if kind == "swiglu" else F.gelu(first), out=d_second)
    d_units.mul_(second)
    if kind == "swiglu":
        aten.silu_backward.grad_input(d_units, first, grad_input=d_first)
    else:
        aten.gelu_backward.grad_input(d_units, first, grad_input=d_first)
    return out
