"""RWKV-6: it reads before it writes, and its inputs choose how they mix with the step before."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.readout import linear, uniform
from longlag.cells.rows import SKIPPED, TANH
from longlag.cells.rwkv import RWKVCell, RWKVLayer, RWKVOptions, normed
from longlag.kernels import Apply, Axes, Chain, Dense, Named, RowFunction, State


class RWKV6Options(RWKVOptions):
    decay_rank: int = Field(default=64, ge=1)
    mix_rank: int = Field(default=32, ge=1)


class RWKV6(RWKVCell[RWKV6Options]):
    """RWKV-6: Peng et al. (2024), "Eagle and Finch", arXiv 2404.05892: the time mixing of Finch.

    u_t = x_t, or W_u x_t + b_u where I differs from H;  d_t = u_{t-1} - u_t
    m_t = tanh((u_t + mu * d_t) M)                                    five parts, for j = r, k, v, g, w
    u^j_t = u_t + (mu_j + m^j_t M_j) * d_t
    r_t, k_t, v_t = W_r u^r_t, W_k u^k_t, W_v u^v_t                   n heads
    w_t = exp(-exp(w_0 + tanh(u^w_t A) B))                            a rate for every number of a key
    y_t = S_{t-1} r_t + (sum over r_t * e * k_t) v_t                  what is stored now counts e in place of 1
    S_t = S_{t-1} diag(w_t) + v_t k_t^T                               [d, d] for each head
    h_t = W_o (groupnorm(y_t) * silu(W_g u^g_t))                      for each head, with weights and biases

    Shapes: d = H / n rounded up, n = ``heads``; W_r, W_k, W_v, W_g ``[n d, H]``, W_o ``[H, n d]``; mu, mu_j ``[H]``,
    M ``[5 R, H]``, M_j ``[H, R]``, R = ``mix_rank``; A ``[decay_rank, H]``, B ``[n d, decay_rank]``, w_0, e ``[n d]``.
    States: ``S [B, n, d, d]``, ``last`` (u_{t-1}) and ``h``, the last output. 5 n d H + 6 H + 10 R H + decay_rank
    (H + n d) + 4 n d parameters, H (I + 1) more where I differs from H.

    Differs from `GLA` in that it reads before it writes, in e, and in its inputs, each a mixture of two steps.

    Initialisation, as the authors' code for the first layer: w_0 from -6 to -1 over all heads, so that what is held
    halves in 280 to 2 steps; e = -0.1, 0, 0.1 in turn; mu_j = 1 - (i / H)^p for channel i, p = 1/2 for r and g, else 1;
    M and A 0, M_j and B ~ U(-0.01, 0.01). ``half_life=T`` sets w_0 in place of that such that the half-lives are
    evenly spaced in the logarithm from T to 2 steps, where A is 0. Where it differs from the authors' code: all layers
    start as the first one; W_o is not 0 at first, or no gradient would pass. In flash-linear-attention w_0 starts at 0,
    a half-life of 0.7 steps, and its own warning points to the authors' code.
    """

    inputs: Mapping[str, Axes] = {"r": ("k",), "w": ("k",), "k": ("k",), "v": ("v",)}
    parameters: Mapping[str, Axes] = {"e": ("k",)}

    @property
    def formula(self) -> str:
        o = self.options
        own = f"5*{self.wide}*H + {6 + 10 * o.mix_rank}*H + {o.decay_rank}*(H + {self.wide}) + 4*{self.wide}"
        return f"{own} + (I != H)*H*(I + 1)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        y = self.sum(s.S * x.r, "k") + self.sum(x.r * p.e * x.k, "k") * x.v
        return {"S": s.S * x.w + x.v * x.k, "y": y}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> RWKV6Layer:
        return RWKV6Layer(self, input_size, hidden_size, generator)


class Decayed(RowFunction):
    """exp(-exp(y))."""

    inputs, outputs = ("y",), ("w",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"w": torch.exp(-torch.exp(x.y))}


class Mixed(RowFunction):
    """u + m * d."""

    inputs, outputs = ("u", "m", "d"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": x.u + x.m * x.d}


class Finished(RowFunction):
    """groupnorm(y) * silu(g), head by head."""

    inputs, parameters, outputs = ("y", "g"), ("w_y", "b_y"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": normed(self, x.y, p) * F.silu(x.g)}


PARTS, MIXED = "rkvgw", Mixed()
BEFORE = Chain(
    "rwkv6 mixing",
    ("u", "d"),
    ("mu", "M", *(f"{f}_{j}" for f in ("mu", "M") for j in PARTS), *(f"W_{j}" for j in "rkvg"), "A", "B", "w_0"),
    (
        Apply(SKIPPED, ("u", "d"), ("u_all",), ("mu",)),
        Dense("low", (("u_all", "M"),), None, tuple(f"low_{j}" for j in PARTS)),
        *(Apply(TANH, (f"low_{j}",), (f"m_{j}",)) for j in PARTS),
        *(Dense(f"mix_{j}", ((f"m_{j}", f"M_{j}"),), f"mu_{j}") for j in PARTS),
        *(Apply(MIXED, ("u", f"mix_{j}", "d"), (f"u_{j}",)) for j in PARTS),
        *(Dense(j, ((f"u_{j}", f"W_{j}"),)) for j in "rkvg"),
        Dense("w_1", (("u_w", "A"),)),
        Apply(TANH, ("w_1",), ("w_2",)),
        Dense("w_3", (("w_2", "B"),), "w_0"),
        Apply(Decayed(), ("w_3",), ("w",)),
    ),
    ("r", "w", "k", "v", "g"),
)
AFTER = Chain(
    "rwkv6 read-out",
    ("y", "g"),
    ("w_y", "b_y", "w_o"),
    (Apply(Finished(), ("y", "g"), ("o",), ("w_y", "b_y")), Dense("h", (("o", "w_o"),))),
    ("h",),
)


class RWKV6Layer(RWKVLayer):
    """`RWKV6` over time."""

    cell: RWKV6

    def __init__(
        self, cell: RWKV6, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(cell, input_size, hidden_size, generator)
        rank, decay_rank, wide = cell.options.mix_rank, cell.options.decay_rank, self.wide
        self.mix_all = nn.Parameter(self.mixes(1)[0])
        self.mix_each = nn.Parameter(self.mixes(0.5, 1, 1, 0.5, 1))
        self.mix_down = nn.Parameter(torch.zeros(5 * rank, hidden_size))
        self.mix_up = nn.Parameter(uniform((5, hidden_size, rank), -0.01, 0.01, generator))
        self.project = nn.ModuleList(linear(hidden_size, wide, generator, bias=False) for _ in range(4))
        self.decay_down = nn.Parameter(torch.zeros(decay_rank, hidden_size))
        self.decay_up = nn.Parameter(uniform((wide, decay_rank), -0.01, 0.01, generator))
        self.decay = nn.Parameter(self.first_decay())
        number = torch.arange(wide)
        self.bonus = nn.Parameter(((number + 1) % 3 - 1) * 0.1)

    def first_decay(self) -> Tensor:
        """w_0."""
        lives = self.lives()
        if lives is not None:
            return torch.log(math.log(2) / lives).float()
        return -6 + 5 * (torch.arange(self.wide) / max(self.wide - 1, 1)) ** 0.7

    def core_parameters(self) -> State:
        return {"e": self.split(self.bonus)}

    def before(self) -> tuple[Chain, State]:
        return BEFORE, {
            "mu": self.mix_all.unsqueeze(0),
            "M": self.mix_down,
            **{f"mu_{j}": row for j, row in zip(PARTS, self.mix_each.unbind(0), strict=True)},
            **{f"M_{j}": matrix for j, matrix in zip(PARTS, self.mix_up.unbind(0), strict=True)},
            **{f"W_{j}": weight for j, weight in zip("rkvg", self.project.parameters(), strict=True)},
            "A": self.decay_down,
            "B": self.decay_up,
            "w_0": self.decay,
        }

    def after(self) -> tuple[Chain, State]:
        return AFTER, {}
