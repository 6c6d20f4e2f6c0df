"""The hierarchically gated recurrent network: a forget gate with a lower bound, read from the input alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from longlag.cells.base import Cell, GatedCell, GatedLayer, rows
from longlag.cells.initialise import half_lives, retained
from longlag.cells.mingru import as_linear
from longlag.cells.parts import RMSNorm
from longlag.cells.readout import ReadoutLayer, linear
from longlag.cells.rows import GATED
from longlag.kernels import Gate, Named, State, StateGradients, run_rows
from longlag.options import Options


class BoundedOptions(Options):
    """Of a forget gate with a lower bound."""

    lower_bound: float = Field(default=0.0, ge=0, lt=1)
    half_life: float | None = Field(default=None, gt=0)

    @property
    def middle(self) -> float:
        """Half-life in steps with the forget gate at its middle."""
        return -1 / math.log2((1 + self.lower_bound) / 2)

    @model_validator(mode="after")
    def _is_reached(self) -> Self:
        if self.half_life is not None and self.half_life < self.middle:
            raise ValueError(
                f"half_life is at least the {self.middle:.3g} steps of a gate at its middle, got {self.half_life:g}"
            )
        return self

    def biases(self, count: int) -> Tensor:
        """Those of gates whose half-lives are evenly spaced in the logarithm from the middle to ``half_life``."""
        assert self.half_life is not None
        f = retained(half_lives(self.half_life, self.middle, count))
        return torch.logit((f - self.lower_bound) / (1 - self.lower_bound))


class HGRNOptions(BoundedOptions):
    gate: bool = True
    norm: bool = True


class HGRN(Cell[HGRNOptions]):
    """HGRN: Qin, Yang and Zhong (2023), arXiv 2311.04823: gates with a lower bound, no recurrent product.

    f_t = l + (1 - l) sigmoid(W_f x_t)                                forget gate, never below l
    s_t = f_t * s_{t-1} + (1 - f_t) * silu(W_i x_t)
    h_t = W_o (rmsnorm(s_t) * silu(W_g x_t))

    ``gate=False`` and ``norm=False`` leave out the last line's gate and norm.

    Shapes: W_f, W_i, W_g ``[H, I]``, W_o ``[H, H]``, the norm's weight ``[H]``; 3 H I + H H + H parameters. States:
    ``s``, and ``h``, the last output, which the recurrence does not read.

    Differs from `MinGRU` in the lower bound and in what stands around the recurrence; from `LRU` in that what is kept
    depends on the input and is real. Where it differs from the paper: s is real, as in the later reference code of
    linear attentions (flash-linear-attention), where the paper turns each unit by a learned angle; RMSNorm as there;
    and l is one number, ``lower_bound``, the same in all layers. In the paper a softmax over layers makes l, learned
    unit by unit, so that it rises from 0 in the first layer to l / L at first in layer l of L.

    Initialisation: torch's own, U(-1/sqrt(n), 1/sqrt(n)) for a map of n numbers, as a bare layer of that code has. At
    the gate's middle s halves in 1 step with l = 0, in 2.4 with l = 1/2. ``half_life`` = T gives W_f a bias, H more
    parameters, at first such that half-lives are evenly spaced in the logarithm from there to T.
    """

    @property
    def formula(self) -> str:
        o = self.options
        return f"{2 + o.gate}*H*I + H*H" + " + H" * (o.norm + (o.half_life is not None))

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> HGRNLayer:
        return HGRNLayer(self.options, input_size, hidden_size, generator)


class BoundedDecay(GatedCell[HGRNOptions]):
    """The recurrence of `HGRN` alone."""

    states = ("s",)
    outputs = ("s",)

    def __init__(self, options: HGRNOptions) -> None:
        super().__init__(options)
        self.gates = (
            Gate("f", sources=(), bias=options.half_life is not None),
            Gate("i", sources=(), bias=False),
        )

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        low = self.options.lower_bound
        f = low + (1 - low) * torch.sigmoid(g.f)
        return {"s": f * s.s + (1 - f) * F.silu(g.i)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        as_linear(parameters, generator)
        if self.options.half_life is not None:
            rows(("f",), parameters["bias"], "f").copy_(self.options.biases(hidden_size))


class HGRNLayer(ReadoutLayer):
    """`HGRN` over time."""

    def __init__(
        self, options: HGRNOptions, input_size: int, hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().__init__(input_size, hidden_size, ("s",))
        self.scan = GatedLayer(BoundedDecay(options), input_size, hidden_size, generator)
        self.norm = RMSNorm(hidden_size) if options.norm else None
        self.gate = linear(input_size, hidden_size, generator, bias=False) if options.gate else None
        self.out = linear(hidden_size, hidden_size, generator, bias=False)

    def scan_state(self, batch: int) -> State:
        return self.scan.initial_state(batch)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        y, final = self.scan(x, {"s": state["s"]}, mask, record)
        gate = None if self.gate is None else self.gate(x)
        if self.norm is not None:
            y = self.norm(y, gate)
        elif gate is not None:
            y = run_rows(GATED, {"y": y, "g": gate}, {}, self.scan.kernel)["h"]
        return self.out(y), final
