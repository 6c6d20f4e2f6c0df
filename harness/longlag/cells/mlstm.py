"""The mLSTM of xLSTM: a matrix under exponential gates, kept finite by a normaliser and a stabiliser."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.initialise import half_lives, retained
from longlag.cells.parts import Share
from longlag.cells.readout import linear
from longlag.cells.rows import EPSILON
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Axes, Named, RowFunction, State, StateGradients, columns, run_rows
from longlag.options import Options

BLOCK = 4
"""Rows and columns of the blocks that make queries, keys and values."""


class MLSTMOptions(Options):
    heads: int = Field(default=4, ge=1)
    expand: float = Field(default=2.0, gt=0)
    convolution: bool = True
    gate_cap: float | None = Field(default=None, gt=0)
    half_life: float | None = Field(default=None, gt=0)


class MLSTM(ScanCell[MLSTMOptions]):
    """mLSTM: Beck et al. (2024), "xLSTM: Extended long short-term memory", arXiv 2405.04517.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    x'_t, z_t = W_x u_t, W_z u_t                                      [E]
    c_t = conv(x'_t)
    q_t, k_t, v_t = W_q c_t, W_k c_t / sqrt(d), W_v x'_t              n heads
    i~_t, f~_t = W_i [q; k; v]_t + b_i, W_f [q; k; v]_t + b_f         a number for each head; k before it is scaled
    m_t = max(log sigmoid(f~_t) + m_{t-1}, i~_t)                      stabiliser
    i_t, f_t = exp(i~_t - m_t), exp(log sigmoid(f~_t) + m_{t-1} - m_t)
    S_t = f_t S_{t-1} + i_t v_t k_t^T                                 [d, d] for each head
    n_t = f_t n_{t-1} + i_t k_t                                       [d]
    y_t = S_t q_t / (max(|n_t . q_t|, exp(-m_t)) + 1e-6)
    h_t = W_h ((groupnorm(y_t) + w * c_t) * silu(z_t))                a norm for each head, E weights

    conv is a causal convolution of every channel over 4 steps with a bias, SiLU after it; ``convolution=False`` leaves
    SiLU. W_q, W_k and W_v are block diagonal, in blocks of 4 by 4. ``gate_cap=a`` takes a tanh(i~ / a) and
    a tanh(f~ / a) for the gates (xLSTM 7B, arXiv 2503.13427, has 15). m cancels out of y, but for 1e-6: it keeps the
    exponentials finite.

    Shapes: d = ``expand`` H / n rounded up to a multiple of 4, n = ``heads``, E = n d; W_x, W_z ``[E, H]``, W_q, W_k,
    W_v ``[E / 4, 4, 4]``, W_i, W_f ``[n, 3 E]``, b_i, b_f ``[n]``, w ``[E]``, W_h ``[H, E]``. States: ``S
    [B, n, d, d]``, ``n [B, n, d]``, ``m [B, n]``, ``window`` (the convolution's last 3 inputs) and ``h``, the last
    output. 3 E H + 12 E + 5 E + 6 E n + 2 n + 2 E parameters, H (I + 1) more where I differs from H; 5 E less without
    ``convolution``.

    Differs from `SLSTM` in that it has a matrix for a number and no recurrent product, and from `GLA` and `Mamba2` in
    that a value written may outweigh all before it, and in the normaliser.

    Initialisation, as the authors' code, of which the paper says little: W_x, W_z, W_q, W_k, W_v ~ N(0, 2 / (5 H)),
    W_h ~ N(0, 4 / H) (there divided by the number of blocks squared), W_i = W_f = 0, b_i ~ N(0, 0.01), b_f from 3 to 6
    over the heads, so that they halve what they hold in 14 to 280 steps; w = 1; the convolution torch's own.
    ``half_life=T`` sets b_f in place of that such that the heads halve in T / 100 to T steps, evenly spaced on a
    logarithmic scale. Where it differs: E is no multiple of 64.
    """

    axes = ("v", "k")
    states: Mapping[str, Axes] = {"S": ("v", "k"), "n": ("k",), "m": ()}
    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",), "i": (), "f": ()}

    def size(self, hidden_size: int) -> int:
        """d."""
        return -(-self.share.of(hidden_size) // BLOCK) * BLOCK

    @property
    def share(self) -> Share:
        return Share(self.options.expand, self.options.heads)

    @property
    def formula(self) -> str:
        n = self.options.heads
        wide = f"{n}*(({self.share.formula} + {BLOCK - 1})//{BLOCK}*{BLOCK})"
        own = 3 * BLOCK + 5 * self.options.convolution + 6 * n + 2
        return f"3*{wide}*H + {own}*{wide} + {2 * n} + (I != H)*H*(I + 1)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        kept = F.logsigmoid(x.f) + s.m
        m = torch.maximum(kept, x.i)
        i, f = torch.exp(x.i - m), torch.exp(kept - m)
        S = f * s.S + i * x.v * x.k
        n = f * s.n + i * x.k
        total = torch.maximum(self.sum(n * x.q, "k").abs(), torch.exp(-m)) + 1e-6
        return {"S": S, "n": n, "m": m, "y": self.sum(S * x.q, "k") / total}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> MLSTMLayer:
        return MLSTMLayer(self, input_size, hidden_size, generator)


class MLSTMLayer(ScanLayer):
    """`MLSTM` over time."""

    cell: MLSTM

    def __init__(
        self, cell: MLSTM, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options, size = cell.options, cell.size(hidden_size)
        wide = options.heads * size
        carried = {"window": (WIDTH - 1, wide)} if options.convolution else {}
        super().__init__(cell, input_size, hidden_size, options.heads, {"v": size, "k": size}, carried)

        def normal(shape: tuple[int, ...], variance: float) -> Tensor:
            return torch.empty(shape).normal_(0, math.sqrt(variance), generator=generator)

        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.up = nn.Parameter(normal((2 * wide, hidden_size), 2 / (5 * hidden_size)))
        self.convolution = ShortConvolution(wide, generator, bias=True) if options.convolution else None
        self.blocks = nn.Parameter(normal((3, wide // BLOCK, BLOCK, BLOCK), 2 / (5 * hidden_size)))
        self.gate_weights = nn.Parameter(torch.zeros(2 * options.heads, 3 * wide))
        self.gate_biases = nn.Parameter(torch.cat([normal((options.heads,), 0.01), self.forget_biases()]))
        self.norm_weight = nn.Parameter(torch.ones(wide))
        self.skip = nn.Parameter(torch.ones(wide))
        self.down = nn.Parameter(normal((hidden_size, wide), 4 / hidden_size))

    def forget_biases(self) -> Tensor:
        """b_f at first."""
        longest = self.cell.options.half_life
        if longest is None:
            return torch.linspace(3, 6, self.heads)
        return torch.logit(retained(half_lives(longest, longest / 100, self.heads))).float()

    def core_inputs(self, c: Tensor, x: Tensor) -> State:
        """Queries, keys, values and gates ``[T, B, n, ...]``, from ``c [T, B, E]`` and ``x' [T, B, E]``."""
        maps = self.maps()
        q, k, v = by_heads(c, maps[0]), by_heads(c, maps[1] / math.sqrt(self.sizes["k"])), by_heads(x, maps[2])
        # the gates read q, k and v, which are products themselves: one product of c and one of x'
        weights = self.gate_weights.unflatten(1, (3, self.heads, -1)).permute(1, 2, 3, 0)
        of_q, of_k, of_v = (each @ weight for each, weight in zip(maps, weights, strict=True))
        gates = F.linear(c, (of_q + of_k).flatten(0, 1).mT, self.gate_biases) + F.linear(x, of_v.flatten(0, 1).mT)
        if (cap := self.cell.options.gate_cap) is not None:
            gates = cap * torch.tanh(gates / cap)
        i, f = gates.chunk(2, -1)
        return {"q": q, "k": k, "v": v, "i": i, "f": f}

    def maps(self) -> Tensor:
        """W_q, W_k and W_v of every head as dense matrices that rows are multiplied by, ``[3, n, d, d]``."""
        blocks = self.blocks.unflatten(1, (self.heads, -1)).mT
        one = torch.eye(blocks.shape[2], dtype=blocks.dtype, device=blocks.device)
        whole: Tensor = blocks.unsqueeze(-2) * one[:, None, :, None]
        return whole.flatten(4, 5).flatten(2, 3)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        wide = self.heads * self.sizes["v"]
        inner, z = columns(F.linear(u, self.up), (wide, wide))
        c, carried = convolve(self.convolution, inner, state, mask)
        c = c if self.convolution is not None else F.silu(c)
        outputs, final = self.scan(self.core_inputs(c, inner), {}, state, mask, record)
        values = {"y": outputs["y"], "c": c, "z": z}
        values = {name: value.view_as(outputs["y"]) for name, value in values.items()}
        weights = {"w": self.norm_weight.view(self.heads, -1), "skip": self.skip.view(self.heads, -1)}
        y = run_rows(SKIPPED, values, weights, self.kernel)["h"]
        return F.linear(y.flatten(-2), self.down), {**final, **carried}


def by_heads(values: Tensor, maps: Tensor) -> Tensor:
    """``values [T, B, n d]``, of every head multiplied by its matrix of ``maps [n, d, d]``: ``[T, B, n, d]``."""
    rows = values.flatten(0, 1).unflatten(-1, (len(maps), -1)).transpose(0, 1)
    product: Tensor = torch.bmm(rows, maps).transpose(0, 1).unflatten(0, values.shape[:2])
    return product


class Skipped(RowFunction):
    """((y - mean y) / sqrt(mean (y - mean y)^2 + eps) * w + skip * c) * silu(z)."""

    inputs, parameters, outputs = ("y", "c", "z"), ("w", "skip"), ("h",)

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]:
        centred = x.y - self.mean(x.y)
        y = centred * torch.rsqrt(self.mean(centred.square()) + EPSILON)
        return {"h": (y * p.w + p.skip * x.c) * F.silu(x.z)}


SKIPPED = Skipped()
