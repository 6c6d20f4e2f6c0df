"""Longhorn: a state space whose step is the solution of an online regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.initialise import half_lives, retained
from longlag.cells.parts import Share
from longlag.cells.readout import linear
from longlag.cells.rows import GATED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Axes, Named, State, StateGradients, columns, run_rows
from longlag.options import Options


class LonghornOptions(Options):
    expand: float = Field(default=2.0, gt=0)
    state_size: int = Field(default=16, ge=1)
    dt_rank: int | None = Field(default=None, ge=1)
    convolution: bool = True
    half_life: float | None = Field(default=None, gt=0)

    @property
    def shortest(self) -> float:
        """Half-life in steps that every step size can have."""
        return 2.0 * self.state_size

    @model_validator(mode="after")
    def _is_reached(self) -> Self:
        if self.half_life is not None and self.half_life < self.shortest:
            raise ValueError(f"half_life is at least 2 state_size = {self.shortest:g} steps, got {self.half_life:g}")
        return self


class Longhorn(ScanCell[LonghornOptions]):
    """Longhorn: Liu, Wang, Wu, Feng, Stone and Liu (2024), arXiv 2407.14207.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    x'_t, z_t = W_x u_t, W_z u_t;  v_t = conv(x'_t)                   E channels
    r_t, k_t, q_t = W_r v_t, W_k v_t, W_q v_t                         R, N and N numbers for all channels
    beta_t = sigmoid(W_b r_t + b)                                     for each channel
    d_t = beta_t / (1 + beta_t k_t . k_t)
    s_t = s_{t-1} * (1 - d_t (k_t * k_t)^T) + (d_t * v_t) k_t^T       N states a channel
    h_t = W_o ((s_t q_t + D * v_t) * silu(z_t))

    conv is a causal convolution of every channel over 4 steps with a bias, SiLU after it; ``convolution=False`` leaves
    SiLU. The step solves argmin |s - s_{t-1}|^2 + beta_t (s . k_t - v_t)^2 channel by channel, but for the products of
    different numbers of k_t in the change of s, which are left out: then no step overshoots, whatever k_t is.

    Shapes: E = ``expand`` H rounded up, N = ``state_size``, R = ``dt_rank``, H / 16 rounded up by default; W_x, W_z
    ``[E, H]``, W_r ``[R, E]``, W_k, W_q ``[N, E]``, W_b ``[E, R]``, b, D ``[E]``, W_o ``[H, E]``. States: ``s
    [B, 1, E, N]``, ``window`` (the convolution's last 3 inputs) and ``h``, the last output. 3 E H + E (2 R + 2 N) +
    7 E parameters, H (I + 1) more where I differs from H; 5 E less without ``convolution``.

    Differs from `Selective` in that a state fades only where its own key is written, and from `DeltaNet` in that the
    step is an implicit one, and diagonal.

    Initialisation: torch's own, D = 1, as the authors' layer by itself (their model sets b = 0). What a state loses in
    a step depends on the inputs. ``half_life=T`` sets b such that, where every k_t has length 1 spread evenly over its
    N numbers and r_t is 0, the half-lives of the channels are evenly spaced in the logarithm from 2 N to T steps.
    """

    axes = ("h", "n")
    states: Mapping[str, Axes] = {"s": ("h", "n")}
    inputs: Mapping[str, Axes] = {"v": ("h",), "beta": ("h",), "k": ("n",), "q": ("n",)}
    parameters: Mapping[str, Axes] = {"D": ("h",)}
    outputs: Mapping[str, Axes] = {"y": ("h",)}

    @property
    def formula(self) -> str:
        wide, rank = Share(self.options.expand, 1).formula, self.options.dt_rank or "((H + 15)//16)"
        own = 2 * self.options.state_size + 2 + 5 * self.options.convolution
        return f"3*{wide}*H + 2*{wide}*{rank} + {own}*{wide} + (I != H)*H*(I + 1)"

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        d = x.beta / (1 + x.beta * self.sum(x.k * x.k, "n"))
        state = s.s * (1 - d * (x.k * x.k)) + d * x.v * x.k
        return {"s": state, "y": self.sum(state * x.q, "n") + p.D * x.v}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> LonghornLayer:
        return LonghornLayer(self, input_size, hidden_size, generator)


class LonghornLayer(ScanLayer):
    """`Longhorn` over time."""

    cell: Longhorn

    def __init__(
        self, cell: Longhorn, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options, size = cell.options, cell.options.state_size
        wide, rank = Share(options.expand, 1).of(hidden_size), options.dt_rank or -(-hidden_size // 16)
        carried = {"window": (WIDTH - 1, wide)} if options.convolution else {}
        super().__init__(cell, input_size, hidden_size, 1, {"h": wide, "n": size}, carried)
        self.widths = (rank, size, size)
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.project = linear(hidden_size, 2 * wide, generator, bias=False)
        self.convolution = ShortConvolution(wide, generator, bias=True) if options.convolution else None
        self.select = linear(wide, sum(self.widths), generator, bias=False)
        self.to_beta = linear(rank, wide, generator)
        if options.half_life is not None:
            # 1 - d / N is kept, and beta / (1 + beta) = d
            d = size * (1 - retained(half_lives(options.half_life, options.shortest, wide)))
            with torch.no_grad():
                self.to_beta.bias.copy_(torch.logit(d / (1 - d)))
        self.d = nn.Parameter(torch.ones(wide))
        self.out = linear(wide, hidden_size, generator, bias=False)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        inner, z = columns(self.project(u), [self.sizes["h"], self.sizes["h"]])
        v, carried = convolve(self.convolution, inner, state, mask)
        v = v if self.convolution is not None else F.silu(v)
        r, k, q = columns(self.select(v), self.widths)
        inputs = {"v": v, "beta": torch.sigmoid(self.to_beta(r)), "k": k, "q": q}
        inputs = {name: value.unsqueeze(2) for name, value in inputs.items()}
        outputs, final = self.scan(inputs, {"D": self.d.unsqueeze(0)}, state, mask, record)
        gated = run_rows(GATED, {"y": outputs["y"].squeeze(2), "g": z}, {}, self.kernel)["h"]
        return self.out(gated), {**final, **carried}
