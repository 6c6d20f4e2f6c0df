"""The delta rule: what a key stood for is taken away before its new value is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.heads import HeadsCell, HeadsLayer, HeadsOptions
from longlag.cells.initialise import refuse_unused
from longlag.cells.readout import linear
from longlag.cells.rows import KEY, QUERY
from longlag.cells.step_sizes import DecayOptions, before_softplus
from longlag.kernels import Axes, Named, RowFunction, State, run_rows


class DeltaOptions(HeadsOptions):
    convolution: bool = True
    negative_eigenvalues: bool = False


class DeltaNet(HeadsCell[DeltaOptions]):
    """DeltaNet: Yang, Wang, Zhang, Shen and Kim (2024), arXiv 2406.06484; after Schlag, Irie and Schmidhuber (2021).

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = conv(W_q u_t), conv(W_k u_t), conv(W_v u_t)       n heads
    q_t, k_t      = unit(q_t) / sqrt(d_k), unit(k_t)                  of length 1 in each head
    beta_t        = sigmoid(W_b u_t)                                  a number for each head
    S_t = S_{t-1} + beta_t (v_t - S_{t-1} k_t) k_t^T                  [d_v, d_k] for each head
    y_t = rmsnorm(S_t q_t)                                            for each head, d_v weights
    h_t = W_o y_t

    conv is a causal convolution of every channel over 4 steps, SiLU after it; ``convolution=False`` leaves SiLU.
    ``negative_eigenvalues`` doubles beta_t (Grazzi et al. 2024, arXiv 2411.12537): the matrix that S is multiplied by
    then has an eigenvalue in [-1, 1] in place of [0, 1], without which no cell of this kind computes parity.

    Shapes: W_q, W_k ``[n d_k, H]``, W_v ``[n d_v, H]``, W_b ``[n, H]``, W_o ``[H, n d_v]``, no biases; d_k =
    ``expand_k`` H / n and d_v = ``expand_v`` H / n rounded up, n = ``heads``. States: ``S [B, n, d_v, d_k]``,
    ``window`` (the convolution's last 3 inputs) and ``h``, the last output.
    2 n d_k H + 2 n d_v H + n H + 4 n (2 d_k + d_v) + d_v parameters, H (I + 1) more where I differs from H; n d_v H
    more for ``gate``, 4 n (2 d_k + d_v) less without ``convolution``.

    Differs from `LinearAttention` in that a value replaces what its key stood for; from `GatedDeltaNet` in that nothing
    is forgotten otherwise: what a key stands for stays until it, or a key that is not orthogonal, is written again.

    Initialisation: torch's own, as the authors' layer by itself.
    """

    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",), "beta": ()}
    activate = True

    @property
    def formula(self) -> str:
        return f"{self.around} + {self.options.heads}*H"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = s.S + x.beta * (x.v - self.sum(s.S * x.k, "k")) * x.k
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> DeltaLayer:
        return DeltaLayer(self, input_size, hidden_size, generator)


class DeltaLayer(HeadsLayer):
    """`DeltaNet` over time."""

    cell: HeadsCell[DeltaOptions]

    def add_inputs(self, generator: torch.Generator | None) -> None:
        self.write = linear(self.hidden_size, self.heads * self.cell.writes, generator, bias=False)

    def beta(self, u: Tensor) -> Tensor:
        """How much is written, ``[T, B, heads * writes]``."""
        beta = torch.sigmoid(self.write(u))
        return 2 * beta if self.cell.options.negative_eigenvalues else beta

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        return {"q": self.unit(QUERY, q), "k": self.unit(KEY, k), "v": v, "beta": self.beta(u)}

    def unit(self, function: RowFunction, x: Tensor) -> Tensor:
        return run_rows(function, {"x": x}, {}, self.kernel)["h"]


class GatedDeltaOptions(DeltaOptions, DecayOptions):
    expand_k: float = Field(default=0.75, gt=0)
    expand_v: float = Field(default=1.5, gt=0)
    gate: bool = True


class GatedDeltaNet(HeadsCell[GatedDeltaOptions]):
    """Gated DeltaNet: Yang, Kautz and Hatamizadeh (2024), arXiv 2412.06464.

    q_t, k_t, v_t, beta_t as in `DeltaNet`
    alpha_t = exp(-exp(a) softplus(W_a u_t + b))                      a number for each head
    S_t = alpha_t S_{t-1} + beta_t (v_t - alpha_t S_{t-1} k_t) k_t^T  [d_v, d_k] for each head
    y_t = rmsnorm(S_t q_t)                                            for each head, d_v weights
    h_t = W_o (y_t * silu(W_g u_t))

    Shapes: as `DeltaNet`; W_a ``[n, H]``, a, b ``[n]``, W_g ``[n d_v, H]``; d_k is 3/4 of H / n by default, d_v 3/2.
    States: ``S [B, n, d_v, d_k]``, ``window`` and ``h``. 2 n d_k H + 3 n d_v H + 2 n H + 2 n + 4 n (2 d_k + d_v) + d_v
    parameters, H (I + 1) more where I differs from H; n d_v H less without ``gate``, 4 n (2 d_k + d_v) less without
    ``convolution``.

    Differs from `DeltaNet` in that alpha clears a head at once, and from `GLA` in that a written value replaces what
    its key stood for.

    Initialisation, as the authors' code: exp(a) ~ U(0, 16), softplus(b) log-uniform between ``dt_min`` and ``dt_max``,
    so that a head halves what it holds in 0.4 to 693 steps, typically in 9; the others torch's own. ``half_life=T``
    sets b in place of that such that the heads halve in T / 100 to T steps, evenly spaced on a logarithmic scale, where
    W_a u_t is 0. Where it differs: exp(a) is at least 0.01, of which the logarithm is taken.
    """

    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",), "beta": (), "alpha": ()}
    activate = True

    @property
    def formula(self) -> str:
        return f"{self.around} + {self.options.heads}*(2*H + 2)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        decayed = x.alpha * s.S
        S = decayed + x.beta * (x.v - self.sum(decayed * x.k, "k")) * x.k
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> GatedDeltaLayer:
        return GatedDeltaLayer(self, input_size, hidden_size, generator)


class GatedDeltaLayer(DeltaLayer):
    """`GatedDeltaNet` over time."""

    cell: HeadsCell[GatedDeltaOptions]

    def add_inputs(self, generator: torch.Generator | None) -> None:
        super().add_inputs(generator)
        options, n = self.cell.options, self.heads
        self.clear = linear(self.hidden_size, n, generator)
        rate = torch.empty(n).uniform_(0.01, 16, generator=generator)
        self.log_rate = nn.Parameter(rate.log())
        with torch.no_grad():
            self.clear.bias.copy_(before_softplus(options.draw_dt(rate, generator)))

    def alpha(self, u: Tensor) -> Tensor:
        """What stays, ``[T, B, heads]``."""
        return torch.exp(-torch.exp(self.log_rate) * F.softplus(self.clear(u)))

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        alpha = self.alpha(u)
        return {**super().core_inputs(u, q, k, v), "alpha": alpha}


class DeltaProductOptions(GatedDeltaOptions):
    negative_eigenvalues: bool = True
    householders: int = Field(default=2, ge=1, le=16)
    forget_gate: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.forget_gate:
            for field in ("half_life", "dt_min", "dt_max"):
                refuse_unused(self, field, "without forget_gate, whose bias it sets")
        return self


class DeltaProduct(HeadsCell[DeltaProductOptions]):
    """DeltaProduct: Siems, Carstensen, Zela, Hutter, Pontil and Grazzi (2025), arXiv 2502.10297.

    q_t, alpha_t as in `GatedDeltaNet`; k_j, v_j, beta_j as k_t, v_t, beta_t there, for j = 1 ... m
    S   = alpha_t S_{t-1}
    S   = S + beta_j (v_j - S k_j) k_j^T                              one after the other, j = 1 ... m
    S_t = S;  y_t = rmsnorm(S_t q_t)                                  for each head, d_v weights
    h_t = W_o (y_t * silu(W_g u_t))

    m, ``householders``, is the number of keys a step: the matrix that S is multiplied by is a product of m generalised
    Householder reflections. ``forget_gate=False`` leaves out alpha, as in the paper's first form;
    ``negative_eigenvalues=False`` halves beta, and then no reflection is one.

    Shapes: as `GatedDeltaNet`; W_k ``[n m d_k, H]``, W_v ``[n m d_v, H]``, W_b ``[n m, H]``. States: ``S [B, n, d_v,
    d_k]``, ``window`` and ``h``. (1 + m) n d_k H + (2 + m) n d_v H + m n H + n H + 2 n + 4 n (d_k + m (d_k + d_v)) +
    d_v parameters, H (I + 1) more where I differs from H; n d_v H less without ``gate``, n (H + 2) less without
    ``forget_gate``, 4 n (d_k + m (d_k + d_v)) less without ``convolution``.

    With m = 1 it is `GatedDeltaNet`. It differs from that in what a step can do to S: two reflections turn it in a
    plane, so that one layer can follow permutations of three things, for which m = 2 and eigenvalues in [-1, 1] are
    both needed.

    Initialisation: as `GatedDeltaNet`, ``half_life`` too; without a forget gate nothing fades. Where the paper's tables
    and the authors' code differ: m = 2 and eigenvalues in [-1, 1] are the defaults of their layer; those of the model
    around it are 1 and [0, 1].
    """

    activate = True

    @property
    def inputs(self) -> Mapping[str, Axes]:  # type: ignore[override]
        found: dict[str, Axes] = {"q": ("k",)}
        for j in range(self.writes):
            found |= {f"k{j}": ("k",), f"v{j}": ("v",), f"beta{j}": ()}
        return {**found, "alpha": ()} if self.options.forget_gate else found

    @property
    def writes(self) -> int:
        return self.options.householders

    @property
    def formula(self) -> str:
        n, forgets = self.options.heads, self.options.forget_gate
        return f"{self.around} + {n * (self.writes + forgets)}*H + {2 * n * forgets}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = x.alpha * s.S if self.options.forget_gate else s.S
        for j in range(self.writes):
            k, v, beta = (getattr(x, f"{name}{j}") for name in ("k", "v", "beta"))
            S = S + beta * (v - self.sum(S * k, "k")) * k
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> DeltaProductLayer:
        return DeltaProductLayer(self, input_size, hidden_size, generator)


class DeltaProductLayer(GatedDeltaLayer):
    """`DeltaProduct` over time."""

    cell: HeadsCell[DeltaProductOptions]

    def add_inputs(self, generator: torch.Generator | None) -> None:
        if self.cell.options.forget_gate:
            super().add_inputs(generator)
        else:
            DeltaLayer.add_inputs(self, generator)

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        m = self.cell.writes
        found = {"alpha": self.alpha(u)} if self.cell.options.forget_gate else {}
        found["q"] = self.unit(QUERY, q)
        parts = zip(k.chunk(m, -1), v.chunk(m, -1), self.beta(u).chunk(m, -1), strict=True)
        for j, (key, value, beta) in enumerate(parts):
            found |= {f"k{j}": self.unit(KEY, key), f"v{j}": value, f"beta{j}": beta}
        return found
