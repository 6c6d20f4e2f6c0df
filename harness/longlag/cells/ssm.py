"""S4D: a diagonal state-space layer, N states for each of H channels, the same at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from longlag.cells.readout import Mix, Mixing, linear
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.step_sizes import DecayOptions, zero_order_hold
from longlag.kernels import Axes, Named, State, StateGradients


class S4DOptions(DecayOptions):
    state_size: int = Field(default=64, ge=2, multiple_of=2)
    init: Literal["lin", "inv"] = "lin"
    mix: Mix = "glu"


class S4D(ScanCell[S4DOptions]):
    """S4D: Gu, Gupta, Goel and Re (2022), "On the parameterization and initialization of diagonal state space models".

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    s_t = exp(dt A) * s_{t-1} + u_t                                  complex, N/2 states a channel
    y_t = 2 Re(sum_n C_n (exp(dt A_n) - 1) / A_n s_{t,n}) + D u_t    zero-order hold
    h_t = mix(y_t)

    A = -exp(log_a) + i a_im. The N states of the paper come in conjugate pairs, of which one half is kept: hence
    the 2. The factor of the zero-order hold is part of the read-out, as in the authors' code. ``mix="glu"`` (default)
    is the layer of that code: GELU, then a gated linear unit over channels; ``"gelu"`` and ``"none"`` leave out parts.

    Shapes: log_dt, D ``[H]``; log_a, a_im ``[H, N/2]``; C ``[H, N/2]`` complex; N = ``state_size``. States: ``re`` and
    ``im`` of s ``[B, 1, H, N/2]``, and ``h``, the last output. 2 H + 2 H N parameters, H (I + 1) more where I differs
    from H, and 2 H (H + 1) for the gated linear unit.

    Differs from `LRU` in being a discretised continuous system with a learned step size dt, and in that a state reads
    one channel only; from `Selective` in that nothing but the state depends on the input.

    Initialisation: A_n = -1/2 + i pi n (``init="lin"``, S4D-Lin) or -1/2 + i N/pi (N/(2n + 1) - 1) (``"inv"``,
    S4D-Inv), n = 0 ... N/2 - 1; dt log-uniform between ``dt_min`` and ``dt_max``, so that a channel's states halve in
    1.39 / dt steps, 14 to 1386; B = 1 (trained as part of C); C ~ complex N(0, 1), D ~ N(0, 1). ``half_life=T`` sets
    dt in place of that such that channels halve in T / 100 to T steps, evenly spaced on a logarithmic scale. Where the
    default differs from the authors' code: dt, log_a and a_im have no smaller learning rate of their own; no dropout.
    """

    undecayed = ("log_a", "a_im")
    version = 2
    axes = ("h", "n")
    states: Mapping[str, Axes] = {"re": ("h", "n"), "im": ("h", "n")}
    inputs: Mapping[str, Axes] = {"u": ("h",)}
    parameters: Mapping[str, Axes] = {**dict.fromkeys(("a_re", "a_im", "c_re", "c_im"), ("h", "n")), "d": ("h",)}
    outputs: Mapping[str, Axes] = {"y": ("h",)}

    @property
    def formula(self) -> str:
        own = f"2*H + 2*H*{self.options.state_size}"
        return f"{own} + (I != H)*H*(I + 1) + {Mixing.formula(self.options.mix)}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        re = p.a_re * s.re - p.a_im * s.im + x.u
        im = p.a_re * s.im + p.a_im * s.re
        return {"re": re, "im": im, "y": self.sum(p.c_re * re - p.c_im * im, "n") + p.d * x.u}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> S4DLayer:
        return S4DLayer(self, input_size, hidden_size, generator)


class S4DLayer(ScanLayer):
    """`S4D` over time."""

    def __init__(self, cell: S4D, input_size: int, hidden_size: int, generator: torch.Generator | None) -> None:
        options, pairs = cell.options, cell.options.state_size // 2
        super().__init__(cell, input_size, hidden_size, 1, {"h": hidden_size, "n": pairs})
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        n = torch.arange(pairs, dtype=torch.float64)
        size = 2 * pairs
        imaginary = math.pi * n if options.init == "lin" else size / math.pi * (size / (2 * n + 1) - 1)
        log_dt = options.draw_log_dt(hidden_size, generator)
        if options.half_life is not None:
            log_dt = options.halving(torch.full((hidden_size,), 0.5)).log()
        self.log_dt = nn.Parameter(log_dt)
        self.log_a = nn.Parameter(torch.full((hidden_size, pairs), math.log(0.5)))
        self.a_im = nn.Parameter(imaginary.float().repeat(hidden_size, 1))
        # complex N(0, 1): half of the variance in each part
        self.c = nn.Parameter(torch.empty(2, hidden_size, pairs).normal_(0, math.sqrt(0.5), generator=generator))
        self.d = nn.Parameter(torch.empty(hidden_size).normal_(0, 1, generator=generator))
        self.mixing = Mixing(options.mix, hidden_size, generator)

    def core_parameters(self) -> State:
        """What the core reads at every step, computed once."""
        a_re, a_im, hold_re, hold_im = zero_order_hold(self.log_dt.unsqueeze(1), -torch.exp(self.log_a), self.a_im)
        c_re, c_im = (2 * self.c).to(hold_re.dtype).unbind(0)
        values = {
            "a_re": a_re,
            "a_im": a_im,
            "c_re": c_re * hold_re - c_im * hold_im,
            "c_im": c_re * hold_im + c_im * hold_re,
            "d": self.d,
        }
        return {name: value.to(self.d.dtype).unsqueeze(0) for name, value in values.items()}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        outputs, final = self.scan({"u": u.unsqueeze(2)}, self.core_parameters(), state, mask, record)
        return self.mixing({"y": outputs["y"].squeeze(2)}), final
