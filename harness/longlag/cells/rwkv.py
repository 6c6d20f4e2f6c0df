"""RWKV-6 and RWKV-7: heads of matrices that forget number by number, and read the step before beside their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypeVar

from longlag.cells.initialise import half_lives
from longlag.cells.parts import Share, step_before, unit
from longlag.cells.readout import linear, uniform
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Axes, Named, State, StateGradients
from longlag.options import Options

SHORTEST = 2.0
"""The shortest half-life, in steps, where an option sets the longest."""


class RWKVOptions(Options):
    heads: int = Field(default=4, ge=1)
    decay_rank: int = Field(default=32, ge=1)
    half_life: float | None = Field(default=None, ge=SHORTEST)


OptionsT_co = TypeVar("OptionsT_co", bound=RWKVOptions, default=RWKVOptions, covariant=True)


class RWKVCell(ScanCell[OptionsT_co]):
    """What the two have in common: heads of d keys and d values, d = H / n rounded up."""

    undecayed = ("mix_each",)

    @property
    def share(self) -> Share:
        return Share(1, self.options.heads)

    @property
    def wide(self) -> str:
        """n d as an expression in H."""
        return f"{self.options.heads}*{self.share.formula}"


class RWKVLayer(ScanLayer):
    """Such a cell over time. Among its states is ``last``, the input of the step before."""

    cell: RWKVCell

    def __init__(self, cell: RWKVCell, input_size: int, hidden_size: int, generator: torch.Generator | None) -> None:
        size, n = cell.share.of(hidden_size), cell.options.heads
        super().__init__(cell, input_size, hidden_size, n, {"v": size, "k": size}, {"last": (hidden_size,)})
        self.wide = n * size
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.out = linear(self.wide, hidden_size, generator, bias=False)
        self.norm_weight = nn.Parameter(torch.ones(self.wide))
        self.norm_bias = nn.Parameter(torch.zeros(self.wide))

    def mixes(self, *powers: float) -> Tensor:
        """How much of the step before each channel of the inputs gets at first, one row for each of the powers."""
        place = torch.arange(self.hidden_size) / self.hidden_size
        return torch.stack([1 - place**power for power in powers])

    def split(self, x: Tensor) -> Tensor:
        """``[..., n d]`` as ``[..., n, d]``."""
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def lives(self) -> Tensor | None:
        """Half-lives that ``half_life`` asks for, of all numbers of keys, the longest first."""
        longest = self.cell.options.half_life
        return None if longest is None else half_lives(longest, SHORTEST, self.wide).flip(0)

    def mix(self, u: Tensor, before: Tensor) -> tuple[State, State]:
        """The core's inputs, and what the read-out needs besides, from u_t and u_{t-1} - u_t."""
        raise NotImplementedError

    def core_parameters(self) -> State:
        return {}

    def finish(self, y: Tensor, rest: State) -> Tensor:
        """From the normalised outputs of all heads, ``[T, B, n d]``, to what W_o maps."""
        return y * rest["g"]

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        u = u if mask is None else u * mask.unsqueeze(-1)
        before, last = step_before(u, state["last"], mask)
        inputs, rest = self.mix(u, before - u)
        outputs, final = self.scan(inputs, self.core_parameters(), state, mask, record)
        y = F.layer_norm(outputs["y"], (self.sizes["v"],), eps=64e-5).flatten(-2)
        y = self.finish(y * self.norm_weight + self.norm_bias, rest)
        return self.out(y), {**final, "last": last}


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

    def mix(self, u: Tensor, before: Tensor) -> tuple[State, State]:
        low = torch.tanh(F.linear(u + before * self.mix_all, self.mix_down)).unflatten(-1, (5, -1))
        each = self.mix_each + torch.einsum("tbjr,jhr->tbjh", low, self.mix_up)
        *mixed, for_decay = (u.unsqueeze(2) + each * before.unsqueeze(2)).unbind(2)
        r, k, v, g = (part(own) for part, own in zip(self.project, mixed, strict=True))
        low = torch.tanh(F.linear(for_decay, self.decay_down))
        w = torch.exp(-torch.exp(self.decay + F.linear(low, self.decay_up)))
        inputs = {"r": r, "w": w, "k": k, "v": v}
        return {name: self.split(value) for name, value in inputs.items()}, {"g": F.silu(g)}


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


class LowRank(nn.Module):
    """``f(x A) B``: A is 0 at first, B orthogonal times 0.1."""

    def __init__(self, inputs: int, rank: int, outputs: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.empty(outputs, rank))
        gain = 0.1 * max(1.0, math.sqrt(rank / outputs))
        nn.init.orthogonal_(self.up.data, gain, generator)

    def forward(self, x: Tensor, f: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        low = F.linear(x, self.down)
        return F.linear(low if f is None else f(low), self.up)


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

    def mix(self, u: Tensor, before: Tensor) -> tuple[State, State]:
        for_r, for_w, for_k, for_v, for_a, for_g = (u.unsqueeze(2) + self.mix_each * before.unsqueeze(2)).unbind(2)
        r, k, v = F.linear(for_r, self.receptance), F.linear(for_k, self.key), F.linear(for_v, self.value)
        decay = self.decay + self.decay_low(for_w, torch.tanh)
        a = torch.sigmoid(self.rate + self.rate_low(for_a))
        g = self.gate_low(for_g, torch.sigmoid)
        inputs = {
            "r": r,
            "w": torch.exp(-math.exp(-0.5) * torch.sigmoid(decay)),
            "c": k * self.cleared,
            "a": a,
            "k": k * (1 + (a - 1) * self.written),
            "v": v,
        }
        inputs = {name: self.split(value) for name, value in inputs.items()}
        inputs["c"] = unit(inputs["c"], 1e-12)
        now = (inputs["r"] * self.split(self.bonus) * inputs["k"]).sum(-1, keepdim=True) * inputs["v"]
        return inputs, {"g": g, "now": now.flatten(-2)}

    def finish(self, y: Tensor, rest: State) -> Tensor:
        return (y + rest["now"]) * rest["g"]
