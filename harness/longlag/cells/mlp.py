"""Dense maps of every step with what stands around them, and feed-forward parts: two maps with a function between.

All of it is one chain (`longlag.kernels.chain`): some rows at a time go through norm, maps, function and residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from longlag.cells.readout import linear
from longlag.cells.rows import ADDED, GATED, GELU, GELU_GATED, LAYER_NORMED
from longlag.kernels import Apply, Chain, Dense, run_chain

Kind = Literal["gelu", "swiglu", "geglu"]


class GatedMLP(nn.Module):
    """W_2 (f(W_1 x) * W_3 x), F units, no biases; f is SiLU or GELU (Shazeer 2020). 3 H F parameters."""

    def __init__(self, kind: Literal["swiglu", "geglu"], size: int, units: int, generator: torch.Generator | None):
        super().__init__()
        self.kind: Kind = kind
        self.widen = linear(size, 2 * units, generator, bias=False)
        self.narrow = linear(units, size, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return feed_forward(self.kind, x, self.widen, self.narrow)


def feed_forward(
    kind: Kind,
    x: Tensor,
    widen: nn.Linear,
    narrow: nn.Linear,
    norm: nn.LayerNorm | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """``residual + narrow(f(widen(norm(x))))`` for ``x [..., H]``.

    Args:
        kind: f. ``gelu``; ``swiglu`` or ``geglu``, where the first half of what `widen` gives goes through SiLU or
            GELU and is multiplied by the second.
        x: inputs.
        widen: the map to the units.
        narrow: the map back.
        norm: what the inputs go through first.
        residual: what is added; may be x.
    """
    return run(kind, x, norm, (widen, narrow), residual)


def affine(x: Tensor, module: nn.Linear, norm: nn.LayerNorm | None = None, residual: Tensor | None = None) -> Tensor:
    """``residual + module(norm(x))`` for ``x [..., H]``."""
    return run(None, x, norm, (module,), residual)


def run(
    kind: Kind | None, x: Tensor, norm: nn.LayerNorm | None, modules: Sequence[nn.Linear], residual: Tensor | None
) -> Tensor:
    added = None if residual is None else "x" if residual is x else "r"
    chain = chain_of(kind, norm is not None, modules[0].bias is not None, added)
    inputs = {"x": x} if added != "r" or residual is None else {"x": x, "r": residual}
    weights = [] if norm is None else [norm.weight.unsqueeze(0), norm.bias.unsqueeze(0)]
    weights += [tensor for module in modules for tensor in (module.weight, module.bias) if tensor is not None]
    (y,) = run_chain(chain, inputs, dict(zip(chain.parameters, weights, strict=True)), x.dim() - 1).values()
    return y


@cache
def chain_of(kind: Kind | None, normed: bool, bias: bool, added: Literal["x", "r"] | None) -> Chain:
    """The chain of `run`; `added`: the input that is the residual."""
    steps: list[Apply | Dense] = []
    names: list[str] = []
    given = "x"

    def dense(weight: str, own_bias: str, result: str, parts: tuple[str, ...] = ()) -> None:
        steps.append(Dense(result, ((given, weight),), own_bias if bias else None, parts))
        names.extend((weight, own_bias) if bias else (weight,))

    if normed:
        steps.append(Apply(LAYER_NORMED, ("x",), ("n",), ("scale", "shift")))
        names.extend(("scale", "shift"))
        given = "n"
    if kind is not None:
        dense("w_1", "b_1", "wide", () if kind == "gelu" else ("one", "two"))
        if kind == "gelu":
            steps.append(Apply(GELU, ("wide",), ("units",)))
        else:
            steps.append(Apply(GATED if kind == "swiglu" else GELU_GATED, ("two", "one"), ("units",)))
        given = "units"
    dense("w_2", "b_2", "y")
    if added is not None:
        steps.append(Apply(ADDED, ("y", added), ("h",)))
    inputs = ("x", "r") if added == "r" else ("x",)
    result = "y" if added is None else "h"
    return Chain(f"feed-forward {kind}" if kind else "a dense map", inputs, tuple(names), tuple(steps), (result,))
