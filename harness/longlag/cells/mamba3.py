"""Mamba-3: a state space with the trapezoidal rule and rotations that the inputs choose."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.mamba import MambaCell, MambaLayer, MambaOptions
from longlag.cells.parts import RMSNorm, rotated
from longlag.cells.readout import linear
from longlag.cells.step_sizes import before_softplus
from longlag.kernels import Axes, Named, State, StateGradients


class Mamba3Options(MambaOptions):
    rotation: float = Field(default=0.5, ge=0, le=1)
    norm: bool = False

    @property
    def angles(self) -> int:
        """Pairs of numbers of a key that are rotated."""
        return int(self.state_size * self.rotation) // 2


class Mamba3(MambaCell[Mamba3Options]):
    """Mamba-3: Lahoti et al. (2026), arXiv 2603.15569, with one input and one output a head (SISO).

    u_t = x_t, or W_u x_t + b_u where I differs from H
    z_t, v_t = W_z u_t, W_v u_t                                       n heads
    B_t, C_t = rmsnorm(W_B u_t) + b_B, rmsnorm(W_C u_t) + b_C         b_B and b_C for each head, the norms for all
    dt_t = softplus(W_dt u_t + b);  l_t = sigmoid(W_l u_t)            numbers for each head
    a_t = exp(-max(softplus(W_a u_t), 1e-4) dt_t)                     a number for each head
    o_t = o_{t-1} + pi tanh(W_o u_t) dt_t                             angles, M for each head
    k_t, q_t = R(o_t) B_t, R(o_t) C_t                                 R rotates the first M pairs
    S_t = a_t S_{t-1} + (1 - l_t) dt_t a_t v_{t-1} k_{t-1}^T + l_t dt_t v_t k_t^T
    y_t = S_t q_t + D v_t                                             [d_v, N] for each head, D a number
    h_t = W_h (y_t * silu(z_t))                                       ``norm``: W_h (rmsnorm(y_t) * silu(z_t)), by heads

    Shapes: d_v = ``expand`` H / n rounded up, n = ``heads``, E = n d_v; W_z, W_v ``[E, H]``, W_B, W_C ``[N, H]``, N =
    ``state_size``, W_dt, W_l, W_a ``[n, H]``, W_o ``[M, H]``, M the half of ``rotation`` N; b_B, b_C ``[n, N]``, b, D
    ``[n]``, W_h ``[H, E]``. States: ``S [B, n, d_v, N]``, ``v_before [B, n, d_v]``, ``k_before [B, n, N]``, ``angle
    [B, n, M]`` (between -pi and pi) and ``h``, the last output. H (2 E + 2 N + 3 n + M) + E H + 2 n N + 2 N + 2 n
    parameters, H (I + 1) more where I differs from H; E more for ``norm``.

    Differs from `Mamba2` in the trapezoidal rule, which weighs a value with the step after it as well and takes the
    place of the convolution; in rotations, as of complex states, with which one layer follows parities; and in that
    the rate of decay depends on the input.

    Initialisation, as the authors' code: softplus(b) log-uniform between ``dt_min`` and ``dt_max``, so that a head
    halves what it holds in 10 to 1,000 steps where W_a u_t is 0; b_B = b_C = D = 1; the others torch's own.
    ``half_life=T`` sets b in place of that such that the heads halve in T / 100 to T steps, evenly spaced on a
    logarithmic scale, where W_dt u_t and W_a u_t are 0. The rate is softplus, as in one version of the authors' code
    and in flash-linear-attention; another has 1 + u for u >= 0 and 1 / (1 - u) below. Where the default differs: 4
    heads and N = 32 in place of heads of 64 and N = 128, for H of some hundred. There is no MIMO form.
    """

    undecayed = ("key_bias", "query_bias", "norm_weight")
    states: Mapping[str, Axes] = {"S": ("v", "k"), "v_before": ("v",), "k_before": ("k",)}
    inputs: Mapping[str, Axes] = {"v": ("v",), "k": ("k",), "q": ("k",), "a": (), "now": (), "past": ()}

    @property
    def formula(self) -> str:
        o = self.options
        n, size, wide = o.heads, o.state_size, self.wide
        own = f"H*(3*{wide} + {2 * size + 3 * n + o.angles}) + {2 * n * size + 2 * size + 2 * n}"
        return f"{own} + {int(o.norm)}*{wide} + (I != H)*H*(I + 1)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = x.a * s.S + x.past * s.v_before * s.k_before + x.now * x.v * x.k
        return {"S": S, "v_before": x.v, "k_before": x.k, "y": self.sum(S * x.q, "k") + p.D * x.v}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> Mamba3Layer:
        return Mamba3Layer(self, input_size, hidden_size, generator)


class Mamba3Layer(MambaLayer):
    """`Mamba3` over time."""

    cell: Mamba3

    def __init__(
        self, cell: Mamba3, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options = cell.options
        n, size, values = options.heads, options.state_size, cell.share.of(hidden_size)
        carried = {"angle": (n, options.angles)} if options.angles else {}
        super().__init__(cell, input_size, hidden_size, generator, carried)
        self.widths = (n * values, n * values, size, size, n, n, n, options.angles)
        self.project = linear(hidden_size, sum(self.widths), generator, bias=False)
        dt = options.draw_dt(torch.full((n,), math.log(2)), generator)
        self.dt_bias = nn.Parameter(before_softplus(dt))
        self.key_norm, self.query_norm = RMSNorm(size), RMSNorm(size)
        self.key_bias, self.query_bias = (nn.Parameter(torch.ones(n, size)) for _ in range(2))
        self.d = nn.Parameter(torch.ones(n))
        self.norm_weight = nn.Parameter(torch.ones(n, values)) if options.norm else None
        self.out = linear(n * values, hidden_size, generator, bias=False)

    def angles(self, rates: Tensor, dt: Tensor, state: State, mask: Tensor | None) -> Tensor:
        """``[T, B, n, M]`` of every step, from ``rates [T, B, M]`` and ``dt [T, B, n]``."""
        turns = math.pi * torch.tanh(rates).unsqueeze(2) * dt.unsqueeze(-1)
        turns = turns if mask is None else turns * mask.view(*mask.shape, 1, 1)
        return state["angle"] + turns.double().cumsum(0)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = self.encoded(x)
        z, v, keys, queries, dt, rate, trapezoid, turn = self.project(u).split(self.widths, -1)
        dt, trapezoid = F.softplus(dt + self.dt_bias), torch.sigmoid(trapezoid)
        a = torch.exp(-F.softplus(rate).clamp(min=1e-4) * dt)
        k = self.key_norm(keys).unsqueeze(2) + self.key_bias
        q = self.query_norm(queries).unsqueeze(2) + self.query_bias
        carried: State = {}
        if pairs := self.cell.options.angles:
            angles = self.angles(turn, dt, state, mask)
            k, q = (torch.cat([rotated(p[..., : 2 * pairs], angles), p[..., 2 * pairs :]], -1) for p in (k, q))
            last = angles[-1] - 2 * math.pi * torch.round(angles[-1].detach() / (2 * math.pi))
            carried["angle"] = last.to(x.dtype)
        v = v.unflatten(-1, (self.heads, -1))
        inputs = {"v": v, "k": k, "q": q, "a": a, "now": trapezoid * dt, "past": (1 - trapezoid) * dt * a}
        outputs, final = self.scan(inputs, {"D": self.d}, state, mask, record)
        y = outputs["y"]
        if self.norm_weight is not None:
            y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5) * self.norm_weight
        return self.out(y.flatten(-2) * F.silu(z)), {**final, **carried}
