"""RWKV-7: numbers of a key decay, and are replaced, at rates of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from longlag.cells.readout import uniform
from longlag.cells.rows import SKIPPED, TANH
from longlag.cells.rwkv import RWKVCell, RWKVLayer, RWKVOptions, normed
from longlag.kernels import Apply, Axes, Chain, Dense, Named, RowFunction, State


class RWKV7Options(RWKVOptions):
    rate_rank: int = Field(default=32, ge=1)
    gate_rank: int = Field(default=64, ge=1)


class RWKV7(RWKVCell[RWKV7Options]):
    """RWKV-7: Peng et al. (2025), "RWKV-7 Goose", arXiv 2503.14456: its time mixing.

    u_t = x_t, or W_u x_t + b_u where I differs from H;  u^j_t = u_t + mu_j * (u_{t-1} - u_t), j = r, w, k, v, a, g
    r_t, k'_t, v_t = W_r u^r_t, W_k u^k_t, W_v u^v_t                  n heads
    w_t = exp(-exp(-1/2) sigmoid(w_0 + tanh(u^w_t A_w) B_w))          a rate for every number of a key, above 0.545
    a_t = sigmoid(a_0 + u^a_t A_a B_a)                                how much of a key's old value goes, per number
    c_t = unit(k'_t * k_k)                                            of length 1 in each head
    k_t = k'_t * (1 + (a_t - 1) * k_a)
    S_t = S_{t-1} (diag(w_t) - c_t (a_t * c_t)^T) + v_t k_t^T         [d, d] for each head
    y_t = groupnorm(S_t r_t) + (sum over r_t * e * k_t) v_t           for each head, with weights and biases
    h_t = W_o (y_t * (sigmoid(u^g_t A_g) B_g))

    Shapes: d = H / n rounded up, n = ``heads``; W_r, W_k, W_v ``[n d, H]``, W_o ``[H, n d]``; mu_j ``[H]``; A ``[rank,
    H]`` and B ``[n d, rank]`` with ``decay_rank``, ``rate_rank`` and ``gate_rank``; w_0, a_0, k_k, k_a, e ``[n d]``.
    States: ``S [B, n, d, d]``, ``last`` (u_{t-1}) and ``h``, the last output. 4 n d H + 6 H + (decay_rank + rate_rank
    + gate_rank) (H + n d) + 7 n d parameters, H (I + 1) more where I differs from H.

    Differs from `GatedDeltaNet` in that numbers of a key decay and are replaced at rates of their own, and in that the
    key that is cleared, c, is not the one that is written, k.

    Initialisation, as the authors' code for the first layer: w_0 = -5.5 + 6 i / (n d - 1) + 2.5 z for channel i, z from
    -1 to 1 over a head by the square, so that what is held halves in 1.2 to 3,400 steps; a_0 = -0.19 + 0.3 z + 0.4 l,
    k_k = 0.71 - 0.1 l, l from -1/2 to 1/2 over the channels; k_a = 1.02; e = -0.04; A 0, B orthogonal times 0.1; W_r,
    W_v ~ U(-1/2, 1/2) / sqrt(H), W_k a tenth of that. ``half_life=T`` sets w_0 in place of that such that the
    half-lives are evenly spaced in the logarithm from T to 2 steps, where A_w is 0. Where it differs from the authors'
    code: all layers start as the first one, and none mixes the first layer's values into its own; W_o is not 0 at
    first, or no gradient would pass; the ranks are theirs for H about 128 whatever H is; 1e-12 stands under the root of
    unit, not beside it.
    """

    inputs: Mapping[str, Axes] = {"r": ("k",), "w": ("k",), "c": ("k",), "a": ("k",), "k": ("k",), "v": ("v",)}

    @property
    def formula(self) -> str:
        o = self.options
        ranks = o.decay_rank + o.rate_rank + o.gate_rank
        own = f"4*{self.wide}*H + 6*H + {ranks}*(H + {self.wide}) + 7*{self.wide}"
        return f"{own} + (I != H)*H*(I + 1)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = s.S * x.w - self.sum(s.S * x.c, "k") * (x.a * x.c) + x.v * x.k
        return {"S": S, "y": self.sum(S * x.r, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> RWKV7Layer:
        return RWKV7Layer(self, input_size, hidden_size, generator)


class Decayed(RowFunction):
    """exp(-exp(-1/2) sigmoid(y))."""

    inputs, outputs = ("y",), ("w",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"w": torch.exp(-math.exp(-0.5) * torch.sigmoid(x.y))}


class Keys(RowFunction):
    """a, c and k from what they are made of, head by head."""

    inputs, parameters, outputs = ("k", "a"), ("k_k", "k_a"), ("a", "c", "k")

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        a, c = torch.sigmoid(x.a), x.k * p.k_k
        unit = c * torch.rsqrt(self.sum(c.square()) + 1e-12)
        return {"a": a, "c": unit, "k": x.k * (1 + (a - 1) * p.k_a)}


class Finished(RowFunction):
    """(groupnorm(y) + (sum over r e k) v) g, head by head."""

    inputs, parameters, outputs = ("y", "r", "k", "v", "g"), ("w_y", "b_y", "e"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": (normed(self, x.y, p) + self.sum(x.r * p.e * x.k) * x.v) * x.g}


class Sigmoid(RowFunction):
    """sigmoid(y)."""

    inputs, outputs = ("y",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": torch.sigmoid(x.y)}


PARTS = "rwkvag"
BEFORE = Chain(
    "rwkv7 mixing",
    ("u", "d"),
    (*(f"mu_{j}" for j in PARTS), *(f"{f}_{j}" for f in "AB" for j in "wag"), "W_r", "W_k", "W_v", "w_0", "a_0", "k_k",
     "k_a"),
    (
        *(Apply(SKIPPED, ("u", "d"), (f"u_{j}",), (f"mu_{j}",)) for j in PARTS),
        Dense("r", (("u_r", "W_r"),)),
        Dense("k_1", (("u_k", "W_k"),)),
        Dense("v", (("u_v", "W_v"),)),
        Dense("w_1", (("u_w", "A_w"),)),
        Apply(TANH, ("w_1",), ("w_2",)),
        Dense("w_3", (("w_2", "B_w"),), "w_0"),
        Apply(Decayed(), ("w_3",), ("w",)),
        Dense("a_1", (("u_a", "A_a"),)),
        Dense("a_2", (("a_1", "B_a"),), "a_0"),
        Apply(Keys(), ("k_1", "a_2"), ("a", "c", "k"), ("k_k", "k_a")),
        Dense("g_1", (("u_g", "A_g"),)),
        Apply(Sigmoid(), ("g_1",), ("g_2",)),
        Dense("g", (("g_2", "B_g"),)),
    ),
    ("r", "w", "c", "a", "k", "v", "g"),
)  # fmt: skip
AFTER = Chain(
    "rwkv7 read-out",
    ("y", "r", "k", "v", "g"),
    ("w_y", "b_y", "e", "w_o"),
    (
        Apply(Finished(), ("y", "r", "k", "v", "g"), ("o",), ("w_y", "b_y", "e")),
        Dense("h", (("o", "w_o"),)),
    ),
    ("h",),
)


class LowRank(nn.Module):
    """A and B of a product of low rank: A is 0 at first, B orthogonal times 0.1."""

    def __init__(self, inputs: int, rank: int, outputs: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.empty(outputs, rank))
        gain = 0.1 * max(1.0, math.sqrt(rank / outputs))
        nn.init.orthogonal_(self.up.data, gain, generator)


class RWKV7Layer(RWKVLayer):
    """`RWKV7` over time."""

    cell: RWKV7

    def __init__(
        self, cell: RWKV7, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(cell, input_size, hidden_size, generator)
        options, wide = cell.options, self.wide
        self.mix_each = nn.Parameter(self.mixes(0.2, 0.9, 0.7, 0.7, 0.9, 0.2))
        bound = 0.5 / math.sqrt(hidden_size)
        self.receptance, self.key, self.value = (
            nn.Parameter(uniform((wide, hidden_size), -b, b, generator)) for b in (bound, bound / 10, bound)
        )
        self.decay_low, self.rate_low, self.gate_low = (
            LowRank(hidden_size, rank, wide, generator)
            for rank in (options.decay_rank, options.rate_rank, options.gate_rank)
        )
        size = self.sizes["k"]
        line = torch.arange(wide) / max(wide - 1, 1) - 0.5
        ramp = 2 * (torch.arange(size) / max(size - 1, 1)) - 1
        ramp = (ramp * ramp.abs()).repeat(self.heads)
        self.decay = nn.Parameter(self.first_decay(line, ramp))
        self.rate = nn.Parameter(-0.19 + 0.3 * ramp + 0.4 * line)
        self.cleared = nn.Parameter(0.71 - 0.1 * line)
        self.written = nn.Parameter(torch.full((wide,), 1.02))
        self.bonus = nn.Parameter(torch.full((wide,), -0.04))

    def first_decay(self, line: Tensor, ramp: Tensor) -> Tensor:
        """w_0."""
        lives = self.lives()
        if lives is not None:
            return torch.logit(math.log(2) / lives * math.exp(0.5)).float()
        return -5.5 + 6 * (line + 0.5) + 2.5 * ramp

    def before(self) -> tuple[Chain, State]:
        low = {"w": self.decay_low, "a": self.rate_low, "g": self.gate_low}
        return BEFORE, {
            **{f"mu_{j}": row for j, row in zip(PARTS, self.mix_each.split(1), strict=True)},
            **{f"A_{j}": part.down for j, part in low.items()},
            **{f"B_{j}": part.up for j, part in low.items()},
            "W_r": self.receptance,
            "W_k": self.key,
            "W_v": self.value,
            "w_0": self.decay,
            "a_0": self.rate,
            "k_k": self.split(self.cleared),
            "k_a": self.split(self.written),
        }

    def after(self) -> tuple[Chain, State]:
        return AFTER, {"e": self.split(self.bonus)}
