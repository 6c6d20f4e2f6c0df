"""The real-gated linear recurrent unit, in the recurrent block of Hawk and Griffin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.base import Cell, GatedCell, GatedLayer
from longlag.cells.convolution import WIDTH, ShortConvolution
from longlag.cells.initialise import half_lives, refuse_unused, retained
from longlag.cells.readout import ReadoutLayer
from longlag.errors import UserError
from longlag.kernels import Gate, Named, State, StateGradients, Weights
from longlag.options import Options

POWER = 8
"""c of the paper: the recurrence gate moves the decay between a^0 and a^c."""


class RGLRUOptions(Options):
    width: int | None = Field(default=None, ge=1)
    blocks: int = Field(default=1, ge=1)
    convolution: bool = True
    gate: bool = True
    init: Literal["code", "paper"] = "code"
    half_life: float | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.half_life is not None:
            refuse_unused(self, "init", "with half_life, which sets what it draws")
        return self


class RGLRU(Cell[RGLRUOptions]):
    """RG-LRU in its recurrent block: De, Smith, Fernando et al. (2024), "Griffin", arXiv 2402.19427.

    u_t = conv(W_x x_t + b_x)                                         causal, width 4, R channels by themselves
    r_t = sigmoid(W_r u_t + b_r)                                      recurrence gate
    i_t = sigmoid(W_i u_t + b_i)                                      input gate
    a_t = exp(-8 r_t * softplus(Lambda))
    s_t = a_t * s_{t-1} + sqrt(1 - a_t^2) * (i_t * u_t)               the factor is 1 where s_{t-1} = 0
    h_t = W_o (gelu(W_y x_t + b_y) * s_t) + b_o                       gelu by its tanh approximation

    ``convolution=False`` and ``gate=False`` leave out the convolution and the branch of gelu.

    Shapes: W_x, W_y ``[R, I]``, W_o ``[H, R]``, R = ``width``, H by default (the paper's is about 4/3 of that); W_r
    and W_i block diagonal, ``blocks`` n squares each. 2 R (I + 1) + 5 R + 2 R (R / n + 1) + R + H (R + 1) parameters.
    States: ``s``; ``window``, the last 3 inputs of the convolution; and ``h``, the last output, which the recurrence
    does not read.

    Differs from `HGRN` and `MinGRU` in that what is taken in has the variance that what is let go of leaves free, so
    that long memories do not fade in; from `LRU` in its gates and in being real.

    Where paper and code disagree: the text has a^8 uniform between 0.9 and 0.999 at first, where a = exp(-softplus(
    Lambda)) (``init="paper"``); the code draws a itself there, with a^2 uniform (``init="code"``, the default, as it is
    what was run). At r = 1/2 that is a half-life of 1.6 to 173 steps for the code, 13 to 1386 for the paper.
    ``half_life`` = T spaces them evenly in the logarithm from 1 to T. The factor of 1 at the first step is the code's;
    so is the slope of the square root, at most 1000.

    Initialisation as the code: W_x, W_y N(0, 1/I), W_o N(0, 1/R), gates N(0, n/R), the convolution N(0, 0.01/4), all
    biases 0.
    """

    @property
    def formula(self) -> str:
        o = self.options
        size = o.width or "H"
        parts = [f"{1 + o.gate}*{size}*(I + 1)", f"2*{size}*({size}//{o.blocks} + 1)", f"{size}", f"H*({size} + 1)"]
        return " + ".join([*parts, *([f"{WIDTH + 1}*{size}"] if o.convolution else [])])

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> RGLRULayer:
        return RGLRULayer(self.options, input_size, hidden_size, generator)


class BoundedRoot(torch.autograd.Function):
    """The square root, its slope at most 1000: near 0 a decay of almost 1 would give infinity times 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        return torch.sqrt(a)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return gradient / torch.clamp(2 * root, min=1e-3)


class GatedDecay(GatedCell[RGLRUOptions]):
    """The recurrence of `RGLRU` alone, from u. Lambda is ``decay``; the weights of r and i are ``gates``."""

    gates = (Gate("r", sources=()), Gate("i", sources=()), Gate("u", sources=(), bias=False))
    states = ("s",)
    outputs = ("s",)
    units = ("rate",)

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        log_a = -torch.sigmoid(g.r) * p.rate
        room = BoundedRoot.apply(-torch.expm1(2 * log_a))  # type: ignore[no-untyped-call]
        taken = torch.where(s.s == 0, 1.0, room) * torch.sigmoid(g.i) * g.u
        return {"s": torch.exp(log_a) * s.s + taken}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        blocks = self.options.blocks
        if hidden_size % blocks:
            raise UserError(f"{blocks} blocks do not divide the width of {hidden_size}")
        size = hidden_size // blocks
        return {"gates": (2, blocks, size, size), "bias": (2 * hidden_size,), "decay": (hidden_size,)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        packed = parameters["gates"]
        size = packed.shape[1] * packed.shape[2]
        eye = torch.eye(size, dtype=packed.dtype, device=packed.device)  # the core reads u itself, too
        dense = [torch.block_diag(*gate) for gate in packed.unbind(0)]
        units = {"rate": POWER * F.softplus(parameters["decay"])}
        return Weights(torch.cat([*dense, eye]), (), parameters["bias"], None, units)

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        o, gates = self.options, parameters["gates"]
        gates.normal_(0, gates.shape[-1] ** -0.5, generator=generator)
        parameters["bias"].zero_()
        if o.half_life is not None:
            rate = -2 * torch.log(retained(half_lives(o.half_life, 1, hidden_size)))
        else:
            drawn = torch.empty(hidden_size, dtype=torch.float64)
            if o.init == "paper":
                rate = -torch.log(drawn.uniform_(0.9, 0.999, generator=generator))
            else:
                rate = -POWER / 2 * torch.log(drawn.uniform_(0.9**2, 0.999**2, generator=generator))
        parameters["decay"].copy_(torch.log(torch.expm1(rate / POWER)))  # the inverse of softplus


class RGLRULayer(ReadoutLayer):
    """`RGLRU` over time."""

    def __init__(
        self, options: RGLRUOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, ("s", "window") if options.convolution else ("s",))
        self.width = options.width or hidden_size
        self.into = normal(input_size, self.width, generator)
        self.convolution = (
            ShortConvolution(self.width, generator, bias=True, silu=False) if options.convolution else None
        )
        if self.convolution is not None and self.convolution.bias is not None:
            with torch.no_grad():
                self.convolution.weight.normal_(0, math.sqrt(0.01 / WIDTH), generator=generator)
                self.convolution.bias.zero_()
        self.scan = GatedLayer(GatedDecay(options), self.width, self.width, generator)
        self.branch = normal(input_size, self.width, generator) if options.gate else None
        self.out = normal(self.width, hidden_size, generator)

    def scan_state(self, batch: int) -> State:
        state = self.scan.initial_state(batch)
        if self.convolution is not None:
            state["window"] = state["s"].new_zeros(batch, WIDTH - 1, self.width)
        return state

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u, carried = self.into(x), {}
        if self.convolution is not None:
            u, carried["window"] = self.convolution(u, state["window"], mask)
        y, final = self.scan(u, {"s": state["s"]}, mask, record)
        y = y if self.branch is None else y * F.gelu(self.branch(x), approximate="tanh")
        return self.out(y), {**final, **carried}


def normal(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear map with weights N(0, 1/inputs) and biases 0."""
    module: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        module.weight.normal_(0, inputs**-0.5, generator=generator)
        module.bias.zero_()
    return module
