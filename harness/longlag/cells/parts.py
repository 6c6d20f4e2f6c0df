"""What stands around the core of today's cells: norms and sizes of a head, rotations."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from longlag.cells.base import Compilable
from longlag.cells.padding import hold
from longlag.cells.rows import GATED_NORMED, NORMED, NORMED_GATED
from longlag.kernels import run_rows


def unit(x: Tensor, eps: float = 1e-6) -> Tensor:
    """``x [..., k]`` at length 1: x / sqrt(sum x^2 + eps)."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps)


class RMSNorm(nn.Module, Compilable):
    """``w * y / sqrt(mean y^2 + 1e-5)`` over the last axis, of which a head has one; size weights, 1 at first.

    A gate g multiplies the result, or before the norm y, by silu(g).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, y: Tensor, gate: Tensor | None = None, gate_first: bool = False) -> Tensor:
        inputs = {"y": y} if gate is None else {"y": y, "g": gate}
        function = NORMED if gate is None else GATED_NORMED if gate_first else NORMED_GATED
        return run_rows(function, inputs, {"w": self.weight.unsqueeze(0)}, self.kernel)["h"]


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


def step_before(x: Tensor, last: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """``x [T, B, C]`` of the existing step before each, ``last [B, C]`` before the first; and the next `last`."""
    held = hold(x, mask, last)
    return torch.cat([last.unsqueeze(0), held[:-1]]), held[-1]
