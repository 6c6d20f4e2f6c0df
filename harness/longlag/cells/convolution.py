"""A short causal convolution of every channel by itself, as a scan over the last inputs, and by torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.base import Compilable
from longlag.cells.padding import front, newest, silence, spread
from longlag.kernels import Axes, Named, State, compiled_scan

WIDTH = 4
"""Of a short convolution, its own step counted."""
PAST = ("x1", "x2", "x3")
"""The inputs of the steps before, the last one first."""
WEIGHTS = ("w0", "w1", "w2", "w3")


class Convolving:
    """The convolution as a scan: its states are the inputs of the last steps.

    Args:
        bias: whether there is one.
        silu: whether SiLU follows.
    """

    axes: Axes = ("c",)
    states: Mapping[str, Axes] = dict.fromkeys(PAST, axes)
    inputs: Mapping[str, Axes] = {"x": axes}
    outputs: Mapping[str, Axes] = {"y": axes}

    def __init__(self, bias: bool, silu: bool) -> None:
        self.bias, self.silu = bias, silu
        self.parameters: Mapping[str, Axes] = dict.fromkeys((*WEIGHTS, "b") if bias else WEIGHTS, self.axes)

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        y = p.w0 * x.x + p.w1 * s.x1 + p.w2 * s.x2 + p.w3 * s.x3
        y = y + p.b if self.bias else y
        return {"x1": x.x, "x2": s.x1, "x3": s.x2, "y": F.silu(y) if self.silu else y}


@cache
def convolving(bias: bool, silu: bool) -> Convolving:
    """One object for every layer: it is built once."""
    return Convolving(bias, silu)


class ShortConvolution(nn.Module, Compilable):
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
            x: inputs ``[T, B, C]``.
            window: the inputs before.
            mask: true where a step exists; the others are no steps for the convolution either.
        """
        compiled = self.compiled(x, window, mask)
        return self.by_torch(x, window, mask) if compiled is None else compiled

    def compiled(self, x: Tensor, window: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """The same by a compiled scan; None where there is none."""
        parameters = dict(zip(WEIGHTS, self.weight.unsqueeze(1), strict=True))
        if self.bias is not None:
            parameters["b"] = self.bias.unsqueeze(0)
        past = dict(zip(PAST, window.unsqueeze(2).unbind(1)[::-1], strict=True))
        cell = convolving(self.bias is not None, self.silu)
        found = compiled_scan(cell, {"x": x.unsqueeze(2)}, parameters, past, mask, kernel=self.kernel)
        if isinstance(found, str):
            return None
        outputs, final = found
        return outputs["y"].squeeze(2), torch.cat([final[name] for name in PAST[::-1]], 1)

    def by_torch(self, x: Tensor, window: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same by torch's operations."""
        x = silence(x, mask)
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
    y, window = part(x, state["window"], mask)
    return y, {"window": window}
