"""M2RNN: a recurrence with a matrix as its state and a nonlinearity between the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.parts import RMSNorm, Share
from longlag.cells.readout import linear
from longlag.cells.rows import GATED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.cells.step_sizes import DecayOptions, before_softplus
from longlag.kernels import Axes, Named, State, StateGradients, columns, run_rows


class M2RNNOptions(DecayOptions):
    heads: int = Field(default=4, ge=1)
    expand_k: float = Field(default=1.0, gt=0)
    expand_v: float = Field(default=1.0, gt=0)
    recurrent: Literal["identity", "normal"] = "identity"
    convolution: bool = True
    gate: bool = True
    norm: bool = True


class M2RNN(ScanCell[M2RNNOptions]):
    """M2RNN: a matrix that goes through a tanh at every step, arXiv 2603.14360, as in lm-engine and XMA.

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = conv(W_q u_t), conv(W_k u_t), conv(W_v u_t)       n heads
    f_t = exp(-exp(a) softplus(W_f u_t + b))                          a number for each head
    S_t = f_t S_{t-1} + (1 - f_t) tanh(S_{t-1} W + k_t v_t^T)         [d_k, d_v] for each head
    y_t = S_t^T q_t + D * v_t                                         [d_v], D for each channel
    h_t = W_o rmsnorm(y_t * silu(W_g u_t))                            over all heads together, n d_v weights

    conv is a causal convolution of every channel over 4 steps, SiLU after it; ``convolution=False`` leaves SiLU.
    ``gate=False`` leaves out silu(W_g u_t), ``norm=False`` the norm.

    Shapes: W_q, W_k ``[n d_k, H]``, W_v, W_g ``[n d_v, H]``, W_f ``[n, H]``, W ``[n, d_v, d_v]``, a, b ``[n]``, D
    ``[n, d_v]``, W_o ``[H, n d_v]``; d_k = ``expand_k`` H / n and d_v = ``expand_v`` H / n rounded up, n = ``heads``.
    States: ``S [B, n, d_k, d_v]``, ``window`` (the convolution's last 3 inputs) and ``h``, the last output.
    2 n d_k H + 3 n d_v H + n H + n d_v^2 + 2 n d_v + 2 n + 4 n (2 d_k + d_v) parameters, H (I + 1) more where I
    differs from H; n d_v H less without ``gate``, n d_v without ``norm``, 4 n (2 d_k + d_v) without ``convolution``.

    Differs from `GatedDeltaNet` in that the state goes through W and a tanh: it is no linear recurrence and cannot be
    computed in parallel over time; from a gated RNN in that its state has d_k rows for d_v^2 recurrent weights.

    Initialisation: W the identity, as in lm-engine, or with ``recurrent=normal`` N(0, 1), as in XMA, which saturates
    tanh from some ten values on. exp(a) ~ U(0.01, 16), softplus(b) log-uniform between ``dt_min`` and ``dt_max``, as
    in Gated DeltaNet: a head keeps half of what it holds for typically 9 steps. ``half_life=T`` sets b in place of that
    such that the heads halve in T / 100 to T steps, evenly spaced on a logarithmic scale, where W_f u_t is 0. D = 1;
    the others torch's own. Where the default differs: heads of H / 4 in place of d_k = 64 and d_v = 16. There is no
    clipping of the state's gradient at every step; ``clip`` bounds that of the parameters.
    """

    axes = ("k", "v")
    states: Mapping[str, Axes] = {"S": ("k", "v")}
    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",), "f": ()}
    parameters: Mapping[str, Axes] = {"W": ("v", "v")}
    undecayed: ClassVar[tuple[str, ...]] = ("d",)

    def share(self, axis: str) -> Share:
        """What a head has of the channels."""
        return Share(self.options.expand_k if axis == "k" else self.options.expand_v, self.options.heads)

    @property
    def formula(self) -> str:
        options, n = self.options, self.options.heads
        k, v = self.share("k").formula, self.share("v").formula
        parts = [f"{2 * n}*{k}*H", f"{(2 + options.gate) * n}*{v}*H", f"{n}*H", f"{n}*{v}**2", f"{n}*{v}", f"{2 * n}"]
        parts += [f"{n}*{v}"] if options.norm else []
        parts += [f"{4 * n}*(2*{k} + {v})"] if options.convolution else []
        return " + ".join([*parts, "(I != H)*H*(I + 1)"])

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        S = x.f * s.S + (1 - x.f) * torch.tanh(s.S @ p.W + x.k * x.v)
        return {"S": S, "y": self.sum(S * x.q, "k")}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> M2RNNLayer:
        return M2RNNLayer(self, input_size, hidden_size, generator)


class M2RNNLayer(ScanLayer):
    """`M2RNN` over time."""

    cell: M2RNN

    def __init__(
        self, cell: M2RNN, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options = cell.options
        n, sizes = options.heads, {axis: cell.share(axis).of(hidden_size) for axis in cell.axes}
        keys, values = n * sizes["k"], n * sizes["v"]
        mixed = 2 * keys + values
        carried = {"window": (WIDTH - 1, mixed)} if options.convolution else {}
        super().__init__(cell, input_size, hidden_size, n, sizes, carried)
        self.widths = (keys, keys, values)
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.project = linear(hidden_size, mixed, generator, bias=False)
        self.convolution = ShortConvolution(mixed, generator) if options.convolution else None
        self.forget = linear(hidden_size, n, generator)
        rate = torch.empty(n).uniform_(0.01, 16, generator=generator)
        self.log_rate = nn.Parameter(rate.log())
        with torch.no_grad():
            self.forget.bias.copy_(before_softplus(options.draw_dt(rate, generator)))
        weight = torch.eye(sizes["v"]).repeat(n, 1, 1)
        if options.recurrent == "normal":
            weight.normal_(generator=generator)
        self.weight_hh = nn.Parameter(weight)
        self.d = nn.Parameter(torch.ones(n, sizes["v"]))
        self.gate = linear(hidden_size, values, generator, bias=False) if options.gate else None
        self.norm = RMSNorm(values) if options.norm else None
        self.out = linear(values, hidden_size, generator, bias=False)

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        mixed, carried = convolve(self.convolution, self.project(u), state, mask)
        mixed = mixed if self.convolution is not None else F.silu(mixed)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in columns(mixed, self.widths))
        f = torch.exp(-torch.exp(self.log_rate) * F.softplus(self.forget(u)))
        outputs, final = self.scan({"q": q, "k": k, "v": v, "f": f}, {"W": self.weight_hh}, state, mask, record)
        y = (outputs["y"] + self.d * v).flatten(-2)
        gate = None if self.gate is None else self.gate(u)
        if self.norm is not None:
            y = self.norm(y, gate, gate_first=True)
        elif gate is not None:
            y = run_rows(GATED, {"y": y, "g": gate}, {}, self.kernel)["h"]
        return self.out(y), {**final, **carried}
