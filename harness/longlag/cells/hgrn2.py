"""HGRN2: gated linear attention whose keys are what the forget gate lets go of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.heads import HeadsCell, HeadsLayer, HeadsOptions
from longlag.cells.hgrn import BoundedOptions
from longlag.kernels import Axes, Named, State


class HGRN2Options(HeadsOptions, BoundedOptions):
    pass


class HGRN2(HeadsCell[HGRN2Options]):
    """HGRN2: Qin, Yang, Sun, Shen, Li, Sun and Zhong (2024), arXiv 2404.07904: HGRN with a matrix as its state.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t = silu(W_q u_t) / sqrt(d_k);  v_t = W_v u_t                   n heads
    f_t = l + (1 - l) sigmoid(W_f u_t)                                a rate for every number of a key, never below l
    S_t = S_{t-1} diag(f_t) + v_t (1 - f_t)^T                         [d_v, d_k] for each head
    h_t = W_o rmsnorm(S_t q_t)                                        over all heads together, n d_v weights

    ``convolution`` puts a causal convolution of width 4, without SiLU, behind W_q, W_f and W_v.

    Shapes: W_q, W_f ``[n d_k, H]``, W_v ``[n d_v, H]``, W_o ``[H, n d_v]``; d_k = ``expand_k`` H / n and d_v =
    ``expand_v`` H / n rounded up, n = ``heads``. States: ``S [B, n, d_v, d_k]`` and ``h``, the last output.
    2 n d_k H + 2 n d_v H + n d_v parameters, H (I + 1) more where I differs from H; n d_v H more for ``gate``,
    4 n (2 d_k + d_v) for ``convolution``, n d_k for ``half_life``.

    Differs from `GLA` in that the key is 1 - f_t, so that what is kept and what is written share one gate; from `HGRN`
    in holding d_k numbers for every value. Where it differs from the paper: l is one number, ``lower_bound``, the same
    in all layers, where the paper learns it by a softmax over layers, at first 0 in the first layer and l / L in layer
    l of L. Where the paper and the authors' code differ, as the code: q_t is divided by sqrt(d_k), which the norm
    takes out again. 4 heads, where theirs have 128 numbers a key.

    Initialisation: torch's own, as the authors' layer by itself. At the gate's middle S halves in 1 step with l = 0, in
    2.4 with l = 1/2. ``half_life=T`` gives W_f a bias, at first such that the half-lives of the numbers of a head's
    keys are evenly spaced in the logarithm from there to T.
    """

    inputs: Mapping[str, Axes] = {"q": ("k",), "v": ("v",), "f": ("k",)}
    activate_convolution = False
    joint_norm = True

    @property
    def formula(self) -> str:
        return f"{self.around} + {int(self.options.half_life is not None)}*{self.width('k')}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = s.S * x.f + x.v * (1 - x.f)
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> HGRN2Layer:
        return HGRN2Layer(self, input_size, hidden_size, generator)


class HGRN2Layer(HeadsLayer):
    """`HGRN2` over time. What the layer of heads calls k is W_f u_t."""

    cell: HGRN2

    def add_inputs(self, generator: torch.Generator | None) -> None:
        options, keys = self.cell.options, self.sizes["k"]
        biases = None if options.half_life is None else options.biases(keys).float().repeat(self.heads, 1)
        self.bias = None if biases is None else nn.Parameter(biases)

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        low = self.cell.options.lower_bound
        f = low + (1 - low) * torch.sigmoid(k if self.bias is None else k + self.bias)
        return {"q": F.silu(q) / math.sqrt(q.shape[-1]), "v": v, "f": f}
