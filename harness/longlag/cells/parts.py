"""What stands around the core of today's cells: short convolution, norms and sizes of a head, rotations."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.padding import front, hold, newest, spread
from longlag.kernels import State


def unit(x: Tensor, eps: float = 1e-6) -> Tensor:
    """``x [..., k]`` at length 1: x / sqrt(sum x^2 + eps)."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps)


class RMSNorm(nn.Module):
    """``w * y / sqrt(mean y^2 + eps)`` over the last axis, of which a head has one; size weights, 1 at first."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, y: Tensor) -> Tensor:
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """``x [..., d]``, the e-th pair of numbers rotated by ``angles [..., d / 2]``."""
    cos, sin = (f(angles).to(x.dtype) for f in (torch.cos, torch.sin))
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Share:
    """What a head has of H channels: expand H / n, rounded up."""

    def __init__(self, expand: float, heads: int) -> None:
        share = Fraction(expand).limit_denominator(10000) / heads
        self.numerator, self.denominator = share.numerator, share.denominator

    def of(self, hidden_size: int) -> int:
        return -(-self.numerator * hidden_size // self.denominator)

    @property
    def formula(self) -> str:
        """The same as an expression in H."""
        times = "H" if self.numerator == 1 else f"{self.numerator}*H"
        return times if self.denominator == 1 else f"(({times} + {self.denominator - 1})//{self.denominator})"


WIDTH = 4
"""Of a short convolution, its own step counted."""


class ShortConvolution(nn.Module):
    """A causal convolution of every channel by itself, SiLU after it: ``[T, B, C]`` to ``[T, B, C]``.

    y_t = silu(w_0 * x_t + w_1 * x_{t-1} + w_2 * x_{t-2} + w_3 * x_{t-3} (+ b))

    4 C parameters (C more with a bias), U(-1/2, 1/2), as torch's own depthwise convolution. The past of a sequence is a
    window of its last inputs, ``[B, 3, C]``.
    """

    def __init__(self, channels: int, generator: torch.Generator | None, bias: bool = False, silu: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(WIDTH)
        self.weight = nn.Parameter(torch.empty(WIDTH, channels).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound, generator=generator)) if bias else None
        self.silu = silu

    def forward(self, x: Tensor, window: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs, anything where the mask ``[T, B]`` is false, and the next window.

        Args:
            x: inputs ``[T, B, C]``, zeros where no step exists.
            window: the inputs before.
            mask: true where a step exists; the others are no steps for the convolution either.
        """
        counts = None if mask is None else mask.sum(0)
        holes = mask is not None and bool((mask[1:] > mask[:-1]).any())
        existing = front(x, mask)[0] if holes and mask is not None else x
        past = WIDTH - 1
        every = torch.cat([window.transpose(0, 1), existing])
        steps = len(existing)
        y = every[past:] * self.weight[0]
        for j in range(1, past + 1):
            y = y + every[past - j : past - j + steps] * self.weight[j]
        if self.bias is not None:
            y = y + self.bias
        y = F.silu(y) if self.silu else y
        following = newest(every, past, counts).transpose(0, 1).contiguous()
        return (spread(y, mask, y[0]) if holes and mask is not None else y), following


def convolve(part: ShortConvolution | None, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
    """What a convolution makes of ``x [T, B, C]``, and its next ``window``; x where there is no convolution."""
    if part is None:
        return x, {}
    y, window = part(x if mask is None else x * mask.unsqueeze(-1), state["window"], mask)
    return y, {"window": window}


def step_before(x: Tensor, last: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """``x [T, B, C]`` of the existing step before each, ``last [B, C]`` before the first; and the next `last`."""
    held = hold(x, mask, last)
    return torch.cat([last.unsqueeze(0), held[:-1]]), held[-1]
