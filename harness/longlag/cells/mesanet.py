"""MesaNet: what is read is the solution of a regression over all that was written."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.heads import HeadsCell, HeadsLayer, HeadsOptions
from longlag.cells.initialise import half_lives, retained
from longlag.cells.parts import unit
from longlag.cells.readout import linear
from longlag.cells.step_sizes import before_softplus
from longlag.kernels import Axes, Named, State


class MesaNetOptions(HeadsOptions):
    convolution: bool = True
    ridge_min: float = Field(default=0.25, gt=0, lt=1)
    half_life: float | None = Field(default=None, gt=0)


class MesaNet(HeadsCell[MesaNetOptions]):
    """MesaNet: von Oswald, Scherrer, Kobayashi et al. (2025), arXiv 2506.05233.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = unit(conv(W_q u_t)), unit(conv(W_k u_t)), W_v u_t n heads, q and k of length 1 in each
    g_t, beta_t = sigmoid(W_g u_t + b_g), sigmoid(W_b u_t + b_b)      numbers for each head
    G_t = g_t G_{t-1} + beta_t v_t k_t^T                              [d_v, d_k] for each head
    K_t = g_t K_{t-1} + beta_t k_t k_t^T                              [d_k, d_k]
    y_t = rmsnorm(G_t (K_t + diag(r))^-1 q_t)                         for each head, d_v weights
    h_t = W_o y_t

    conv is a causal convolution of every channel over 4 steps, SiLU after it; ``convolution=False`` leaves SiLU. r =
    softplus(l) + ``ridge_min``. The matrix that q_t meets is the one that maps the keys so far to their values best, in
    squares weighed by beta and by what g leaves of each step, with a ridge r.

    Shapes: as `LinearAttention`; W_g, W_b ``[n, H]``, b_g, b_b ``[n]``, l ``[n d_k]``. States: ``G [B, n, d_v, d_k]``,
    ``K [B, n, d_k, d_k]``, ``window`` (the convolution's last 3 inputs) and ``h``, the last output. 2 n d_k H +
    2 n d_v H + 2 n (H + 1) + n d_k + 8 n d_k + d_v parameters, H (I + 1) more where I differs from H; n d_v H more for
    ``gate``, 8 n d_k less without ``convolution``.

    Differs from `DeltaNet`, which takes one step of that regression, in that it solves it at every step: one
    presentation of a key is enough, and a query costs a system of d_k equations. The compiled loop has no matrix
    products between states, so the cell runs on the plain loop.

    Initialisation: torch's own, r = 1, as the authors' layer by itself: what is held halves in about 1 step.
    ``half_life=T`` sets b_g such that the heads halve in T / 100 to T steps, evenly spaced on a logarithmic scale,
    where W_g u_t is 0. Where it differs from the authors' code: the system is solved by elimination, not by 30 steps
    of conjugate gradients from 0; 4 heads, where theirs have 128 numbers a key.
    """

    undecayed = ("ridge",)
    axes = ("v", "k", "j")
    states: Mapping[str, Axes] = {"G": ("v", "k"), "K": ("k", "j")}
    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "j": ("j",), "v": ("v",), "beta": (), "g": ()}
    parameters: Mapping[str, Axes] = {"r": ("k", "j")}
    convolve_values = False
    activate = True

    def size(self, axis: str, hidden_size: int) -> int:
        return super().size("k" if axis == "j" else axis, hidden_size)

    @property
    def formula(self) -> str:
        n = self.options.heads
        return f"{self.around} + {2 * n}*(H + 1) + {self.width('k')}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        G = x.g * s.G + x.beta * x.v * x.k
        K = x.g * s.K + x.beta * x.k * x.j
        wide = torch.promote_types(K.dtype, torch.float32)  # no solver in half precision
        weights = torch.linalg.solve_ex((K + p.r).to(wide), x.q.to(wide))[0].to(K.dtype)
        return {"G": G, "K": K, "y": self.sum(G * weights, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> MesaNetLayer:
        return MesaNetLayer(self, input_size, hidden_size, generator)


class MesaNetLayer(HeadsLayer):
    """`MesaNet` over time."""

    cell: MesaNet

    def add_inputs(self, generator: torch.Generator | None) -> None:
        options, n = self.cell.options, self.heads
        self.keep, self.write = (linear(self.hidden_size, n, generator) for _ in range(2))
        if options.half_life is not None:
            with torch.no_grad():
                kept = retained(half_lives(options.half_life, options.half_life / 100, n))
                self.keep.bias.copy_(torch.logit(kept))
        first = before_softplus(torch.tensor(1 - options.ridge_min))
        self.ridge = nn.Parameter(first.repeat(n, self.sizes["k"]))

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        k = unit(k)
        beta, g = torch.sigmoid(self.write(u)), torch.sigmoid(self.keep(u))
        return {"q": unit(q), "k": k, "j": k, "v": v, "beta": beta, "g": g}

    def core_parameters(self) -> State:
        return {"r": torch.diag_embed(F.softplus(self.ridge) + self.cell.options.ridge_min)}
