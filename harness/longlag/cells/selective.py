"""S6: a diagonal state-space layer whose step sizes, keys and queries depend on the input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.readout import Mix, Mixing, linear
from longlag.cells.rows import GATED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.step_sizes import DecayOptions, before_softplus
from longlag.kernels import Apply, Axes, Chain, Dense, Named, State, StateGradients, columns, run_chain


class SelectiveOptions(DecayOptions):
    state_size: int = Field(default=16, ge=1)
    dt_rank: int | None = Field(default=None, ge=1)
    negative_eigenvalues: bool = False
    mix: Mix | Literal["silu-gate"] = "silu-gate"


class Selective(ScanCell[SelectiveOptions]):
    """The selective state-space layer (S6) of Mamba: Gu and Dao (2023), arXiv 2312.00752.

    u_t = x_t, or W_u x_t + b_u where I differs from H               H channels
    [r_t, B_t, C_t] = W u_t                                          R, N and N numbers
    dt_t = softplus(W_dt r_t + b_dt)                                 a step size for each channel
    s_t = exp(dt_t A) * s_{t-1} + dt_t * u_t * B_t                   N states a channel, A = -exp(log_a)
    y_t = sum_n C_{t,n} s_{t,n} + D * u_t

    ``mix="silu-gate"`` (default) is Mamba's: h_t = W_o (y_t * silu(W_z u_t)); ``"glu"`` is the S4 architecture's
    ("no gate" in the paper's Table 1: GELU and a gated linear unit); ``"gelu"``, ``"none"``. ``negative_eigenvalues``
    takes 2 exp(dt_t A) - 1 in place of exp(dt_t A) (Grazzi et al. 2024, arXiv 2411.12537), between -1 and 1.

    Shapes: W ``[R + 2 N, H]``, W_dt ``[H, R]``, b_dt, D ``[H]``, log_a ``[H, N]``, W_z, W_o ``[H, H]``; N =
    ``state_size``; R = ``dt_rank``, by default H / 16 rounded up. States: ``s [B, 1, H, N]``, and ``h``, the last
    output. H (R + 2 N) + H R + 2 H + H N parameters, H (I + 1) more where I differs from H, and 2 H^2 for the SiLU gate
    or 2 H (H + 1) for the gated linear unit.

    Differs from `S4D` in that dt, B and C depend on the input, so that the layer can keep or overlook a step by what
    it holds, and in real states; from `MinGRU` in having N states a channel with one gate, dt, between them.

    Initialisation, as the authors' code: A_n = -n, n = 1 ... N; W_dt ~ U(-1/sqrt(R), 1/sqrt(R)); b_dt such that
    softplus(b_dt) is log-uniform between ``dt_min`` and ``dt_max``, so that the slowest state of a channel halves in 7
    to 693 steps, the n-th n times as fast; D = 1; the others torch's own. ``half_life=T`` sets b_dt in place of that
    such that the slowest states halve in T / 100 to T steps, evenly spaced on a logarithmic scale, where W_dt r_t is 0.
    Where the default differs from the Mamba block: no short convolution in front, no expansion of the channels by 2.
    """

    undecayed = ("log_a",)
    version = 2
    axes = ("h", "n")
    states: Mapping[str, Axes] = {"s": ("h", "n")}
    inputs: Mapping[str, Axes] = {"u": ("h",), "dt": ("h",), "B": ("n",), "C": ("n",)}
    parameters: Mapping[str, Axes] = {"a": ("h", "n"), "d": ("h",)}
    outputs: Mapping[str, Axes] = {"y": ("h",)}

    @property
    def formula(self) -> str:
        n = self.options.state_size
        rank = self.options.dt_rank or "((H + 15)//16)"
        kind = self.options.mix
        mixing = "2*H*H" if kind == "silu-gate" else Mixing.formula(kind)
        return f"H*({rank} + 2*{n}) + H*{rank} + 2*H + H*{n} + (I != H)*H*(I + 1) + {mixing}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        dt = F.softplus(x.dt)
        kept = torch.exp(dt * p.a)
        kept = 2 * kept - 1 if self.options.negative_eigenvalues else kept
        new = kept * s.s + dt * x.u * x.B
        return {"s": new, "y": self.sum(new * x.C, "n") + p.d * x.u}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> SelectiveLayer:
        return SelectiveLayer(self, input_size, hidden_size, generator)


SILU_GATE = Chain(
    "silu-gate",
    ("y", "u"),
    ("w_z", "w_o"),
    (Dense("g", (("u", "w_z"),)), Apply(GATED, ("y", "g"), ("o",)), Dense("h", (("o", "w_o"),))),
    ("h",),
)


class SelectiveLayer(ScanLayer):
    """`Selective` over time."""

    def __init__(self, cell: Selective, input_size: int, hidden_size: int, generator: torch.Generator | None) -> None:
        options, size = cell.options, cell.options.state_size
        super().__init__(cell, input_size, hidden_size, 1, {"h": hidden_size, "n": size})
        rank = options.dt_rank or math.ceil(hidden_size / 16)
        self.widths = (rank, size, size)
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.select = linear(hidden_size, sum(self.widths), generator, bias=False)
        self.to_dt = linear(rank, hidden_size, generator)
        with torch.no_grad():
            dt = options.draw_dt(torch.ones(hidden_size), generator, options.negative_eigenvalues)
            self.to_dt.bias.copy_(before_softplus(dt))
        n = torch.arange(1, size + 1, dtype=torch.float64)
        self.log_a = nn.Parameter(torch.log(n).float().repeat(hidden_size, 1))
        self.d = nn.Parameter(torch.ones(hidden_size))
        kind = options.mix
        self.gated = kind == "silu-gate"
        if kind == "silu-gate":
            self.gate = linear(hidden_size, hidden_size, generator, bias=False)
            self.out = linear(hidden_size, hidden_size, generator, bias=False)
        else:
            self.mixing = Mixing(kind, hidden_size, generator)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        low, b, c = columns(self.select(u), self.widths)
        inputs = {"u": u, "dt": self.to_dt(low), "B": b, "C": c}
        parameters = {"a": -torch.exp(self.log_a).unsqueeze(0), "d": self.d.unsqueeze(0)}
        inputs = {name: value.unsqueeze(2) for name, value in inputs.items()}
        outputs, final = self.scan(inputs, parameters, state, mask, record)
        if not self.gated:
            return self.mixing({"y": outputs["y"].squeeze(2)}), final
        weights = {"w_z": self.gate.weight, "w_o": self.out.weight}
        return run_chain(SILU_GATE, {"y": outputs["y"], "u": u}, weights, 2, self.kernel)["h"], final
