"""Linear attention and its kin: a matrix of values under keys, forgotten not at all, at fixed rates, or by gates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from longlag.cells.heads import HeadsCell, HeadsLayer, HeadsOptions
from longlag.cells.initialise import half_lives, retained
from longlag.cells.parts import rotated
from longlag.cells.readout import linear
from longlag.kernels import Axes, Named, RowFunction, State, StateGradients, run_rows


class LinearAttentionOptions(HeadsOptions):
    feature: Literal["elu", "relu", "identity"] = "elu"
    normaliser: bool = True

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.normaliser and self.feature == "identity":
            raise ValueError("feature identity needs normaliser=false: the sum it divides by may be 0")
        return self


class LinearAttention(HeadsCell[LinearAttentionOptions]):
    """Linear attention: Katharopoulos, Vyas, Pappas and Fleuret (2020), "Transformers are RNNs", arXiv 2006.16236.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t = phi(W_q u_t), phi(W_k u_t);  v_t = W_v u_t             n heads
    S_t = S_{t-1} + v_t k_t^T                                         [d_v, d_k] for each head
    z_t = z_{t-1} + k_t                                               [d_k]
    y_t = S_t q_t / (z_t . q_t + 1e-10)
    h_t = W_o y_t

    phi(a) = elu(a) + 1 (``feature="elu"``), relu or the identity. ``normaliser=False`` leaves out z: then y_t is
    normalised to root mean square 1 in each head, with d_v weights. The identity needs that.

    Shapes: W_q, W_k ``[n d_k, H]``, W_v ``[n d_v, H]``, W_o ``[H, n d_v]``, no biases; d_k = ``expand_k`` H / n and
    d_v = ``expand_v`` H / n rounded up, n = ``heads``. States: ``S [B, n, d_v, d_k]``, ``z [B, n, d_k]``, and ``h``,
    the last output. 2 n d_k H + 2 n d_v H parameters, H (I + 1) more where I differs from H; n d_v H more for
    ``gate``, 4 n (2 d_k + d_v) for ``convolution``.

    Differs from `RetNet` and `GLA` in that it forgets nothing, and from `DeltaNet` in that a key's old value stays when
    a new one is written: what was stored under other keys comes back as noise once there are more than d_k of them.

    Initialisation: torch's own, U(-1/sqrt(H), 1/sqrt(H)). Where the default differs from the paper: no feed-forward
    part and no residual sum, which are the composition's. ``gate`` multiplies y_t by silu(W_g u_t), as later cells do.
    """

    @property
    def states(self) -> Mapping[str, Axes]:  # type: ignore[override]
        return {"S": ("v", "k"), "z": ("k",)} if self.options.normaliser else {"S": ("v", "k")}

    @property
    def head_norm(self) -> bool:
        return not self.options.normaliser

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = s.S + x.v * x.k
        read = self.sum(S * x.q, "k")
        if not self.options.normaliser:
            return {"S": S, "y": read}
        z = s.z + x.k
        return {"S": S, "z": z, "y": read / (self.sum(z * x.q, "k") + 1e-10)}

    def layer(
        self, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> LinearAttentionLayer:
        return LinearAttentionLayer(self, input_size, hidden_size, generator)


class Positive(RowFunction):
    """elu(y) + 1."""

    inputs, outputs = ("y",), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": F.elu(x.y) + 1}


POSITIVE = Positive()


class LinearAttentionLayer(HeadsLayer):
    """`LinearAttention` over time."""

    cell: LinearAttention

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        feature = self.cell.options.feature
        if feature == "elu":
            q, k = (run_rows(POSITIVE, {"y": value}, {}, self.kernel)["h"] for value in (q, k))
        elif feature == "relu":
            q, k = F.relu(q), F.relu(k)
        return {"q": q, "k": k, "v": v}


class RetNetOptions(HeadsOptions):
    expand_v: float = Field(default=2.0, gt=0)
    gate: bool = True
    half_life: float | None = Field(default=None, gt=0)


class RetNet(HeadsCell[RetNetOptions]):
    """Multi-scale retention: Sun, Dong, Huang, Ma, Xia, Xue, Wang and Wei (2023), arXiv 2307.08621.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = R_t W_q u_t / sqrt(d_k), R_t W_k u_t, W_v u_t      n heads
    S_t = gamma S_{t-1} + v_t k_t^T                                   [d_v, d_k] for each head, gamma fixed
    y_t = rmsnorm(S_t q_t)                                            for each head, d_v weights
    h_t = W_o (y_t * silu(W_g u_t))

    R_t turns the e-th pair of numbers by t 10000^(-2 e / d_k) radians, t counting the steps of a sequence from 0. Head
    j = 0 ... n - 1 has gamma = 1 - 2^(-5 - j): it halves what it holds in 22 * 2^j steps. ``half_life=T`` replaces
    that by T for the last head and half of the next one's for each before it.

    Shapes: as `LinearAttention`, and W_g ``[n d_v, H]``; d_k is ``expand_k`` H / n rounded up to an even number.
    States: ``S [B, n, d_v, d_k]``, ``t`` (steps seen, ``[B]``) and ``h``, the last output. 2 n d_k H + 3 n d_v H + d_v
    parameters, H (I + 1) more where I differs from H; n d_v H less without ``gate``, 4 n (2 d_k + d_v) more for
    ``convolution``.

    Differs from `GLA` in that it forgets at fixed rates: how far back a head can look is known before training, and
    content has no influence on it.

    Initialisation: torch's own. Where the default differs from the paper: RMSNorm in place of GroupNorm, as in the
    authors' later code; 4 heads, so that they stay of a useful size at H of some hundred.
    """

    @property
    def parameters(self) -> Mapping[str, Axes]:  # type: ignore[override]
        return {"gamma": ()}

    def size(self, axis: str, hidden_size: int) -> int:
        size = super().size(axis, hidden_size)
        return size + size % 2 if axis == "k" else size

    def _one(self, axis: str) -> str:
        size = super()._one(axis)
        return f"(({size} + 1)//2*2)" if axis == "k" else size

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = p.gamma * s.S + x.v * x.k
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def decay(self) -> Tensor:
        """gamma of every head."""
        n, longest = self.options.heads, self.options.half_life
        if longest is None:
            return 1 - torch.exp2(-5 - torch.arange(n, dtype=torch.float64))
        return retained(longest * torch.exp2(torch.arange(n, dtype=torch.float64) - (n - 1)))

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> RetNetLayer:
        return RetNetLayer(self, input_size, hidden_size, generator)


class RetNetLayer(HeadsLayer):
    """`RetNet` over time. Among its states is ``t``, the number of steps before."""

    cell: RetNet
    gamma: Tensor

    def __init__(
        self, cell: RetNet, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(cell, input_size, hidden_size, generator)
        self.state_names = (*self.state_names, "t")
        self.register_buffer("gamma", cell.decay().float())

    def scan_state(self, batch: int) -> State:
        return {**super().scan_state(batch), "t": torch.zeros(batch, dtype=torch.int64, device=self.gamma.device)}

    def core_parameters(self) -> State:
        return {"gamma": self.gamma}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        exists = x.new_ones(x.shape[:2], dtype=torch.int64) if mask is None else mask.to(torch.int64)
        self.positions = state["t"] + exists.cumsum(0) - 1
        y, final = super().run(x, state, mask, record)
        return y, {**final, "t": state["t"] + exists.sum(0)}

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        angles = rotary_angles(self.positions, q.shape[-1])
        return {"q": rotated(q, angles) / math.sqrt(q.shape[-1]), "k": rotated(k, angles), "v": v}


def rotary_angles(positions: Tensor, size: int) -> Tensor:
    """``[T, B, 1, size / 2]`` radians: position * 10000^(-2 e / size) of pair e; ``positions [T, B]`` of the steps."""
    rates = 10000 ** (-torch.arange(0, size, 2, dtype=torch.float64, device=positions.device) / size)
    return (positions.unsqueeze(-1) * rates).unsqueeze(2)


class GLAOptions(HeadsOptions):
    expand_k: float = Field(default=0.5, gt=0)
    gate: bool = True
    gate_rank: int = Field(default=16, ge=1)
    half_life: float | None = Field(default=None, gt=0)


class GLA(HeadsCell[GLAOptions]):
    """Gated linear attention: Yang, Wang, Shen, Panda and Kim (2023), arXiv 2312.06635.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = W_q u_t / sqrt(d_k), W_k u_t, W_v u_t             n heads
    w_t = sigmoid(W_2 W_1 u_t + b)^(1/16)                             a rate of forgetting for every number of a key
    S_t = S_{t-1} diag(w_t) + v_t k_t^T                               [d_v, d_k] for each head
    y_t = rmsnorm(S_t q_t)                                            for each head, d_v weights
    h_t = W_o (y_t * silu(W_g u_t))

    Shapes: as `LinearAttention`; W_1 ``[gate_rank, H]``, W_2 ``[n d_k, gate_rank]``, b ``[n d_k]``, W_g ``[n d_v, H]``;
    d_k = ``expand_k`` H / n, half of d_v by default. States: ``S [B, n, d_v, d_k]`` and ``h``, the last output.
    2 n d_k H + 3 n d_v H + d_v + gate_rank (H + n d_k) + n d_k parameters, H (I + 1) more where I differs from H;
    n d_v H less without ``gate``, 4 n (2 d_k + d_v) more for ``convolution``.

    Differs from `RetNet` in that the input decides what is forgotten, number by number of the key; from
    `GatedDeltaNet` in that nothing is overwritten.

    Initialisation: torch's own, as the authors' code: b is about 0, so that w_t is 2^(-1/16) and what is held halves
    in 16 steps, whatever lag a task has. ``half_life=T`` draws b such that the numbers of a head's keys halve in 16 to
    T steps, evenly spaced on a logarithmic scale, where W_2 W_1 u_t is 0.
    """

    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",), "w": ("k",)}

    @property
    def formula(self) -> str:
        rank, keys = self.options.gate_rank, self.width("k")
        return f"{self.around} + {rank}*(H + {keys}) + {keys}"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = s.S * x.w + x.v * x.k
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> GLALayer:
        return GLALayer(self, input_size, hidden_size, generator)


POWER = 16
"""The root that GLA takes of its gates, and with it the half-life where a gate is 1/2."""


class Kept(RowFunction):
    """sigmoid(a)^(1/16)."""

    inputs, outputs = ("a",), ("w",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        return {"w": torch.exp(F.logsigmoid(x.a) / POWER)}


KEPT = Kept()


class GLALayer(HeadsLayer):
    """`GLA` over time."""

    cell: GLA

    def add_inputs(self, generator: torch.Generator | None) -> None:
        rank, keys, longest = self.cell.options.gate_rank, self.sizes["k"], self.cell.options.half_life
        self.narrow = linear(self.hidden_size, rank, generator, bias=False)
        self.widen = linear(rank, self.heads * keys, generator)
        if longest is not None:
            lives = half_lives(max(longest, POWER), POWER, keys)
            with torch.no_grad():  # sigmoid(b)^(1/16) = 2^(-1/life)
                self.widen.bias.copy_(-torch.log(torch.expm1(POWER * math.log(2) / lives)).repeat(self.heads))

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        w = run_rows(KEPT, {"a": self.widen(self.narrow(u))}, {}, self.kernel)["w"]
        return {"q": q / math.sqrt(q.shape[-1]), "k": k, "v": v, "w": w.unflatten(-1, (self.heads, -1))}
