"""The sLSTM of xLSTM: exponential gates, kept finite by a normaliser and a stabiliser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from longlag.cells.base import GatedCell, rows
from longlag.errors import UserError
from longlag.kernels import Gate, Named, Weights
from longlag.options import Options


class SLSTMOptions(Options):
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"
    heads: int = Field(default=1, ge=1)
    recurrent_init: Literal["zero", "uniform"] = "zero"
    forget_bias: Literal["powerlaw", "linear"] = "powerlaw"


class SLSTM(GatedCell[SLSTMOptions]):
    """sLSTM: Beck et al. (2024), "xLSTM: Extended long short-term memory", arXiv 2405.04517.

    i~, f~, z~, o~ = W x_t + R h_{t-1} + b, each    pre-activations
    m_t = max(log f + m_{t-1}, i~)                  stabiliser, log f = log sigmoid(f~), or f~ with ``forget_gate=exp``
    i_t = exp(i~ - m_t)                             input gate, stabilised
    f_t = exp(log f + m_{t-1} - m_t)                forget gate, stabilised
    c_t = f_t * c_{t-1} + i_t * tanh(z~)            cell state
    n_t = f_t * n_{t-1} + i_t                       normaliser
    h_t = sigmoid(o~) * c_t / n_t

    m cancels out of h: it only keeps the exponentials finite. Where n = 0, nothing is stored yet and m_t = i~, as in
    the authors' code, so n_t >= 1 from then on.

    Shapes: each W ``[H, I]``, b ``[H]``, packed in the order i, f, z, o; R block diagonal, one block for each of the
    ``heads``, kept as ``[4 H, H / heads]``; 4 H (I + H / heads + 1) parameters.

    Differs from `LSTM` in the exponential input gate, which lets a new value outweigh all old ones, and in the
    normaliser: h is a weighted mean of what was stored. The layer around the cell in the paper (causal convolution,
    group norm, projections) is not part of it.

    Initialisation as in the authors' code: R = 0 (``recurrent_init=uniform``: U(-1/sqrt(H), 1/sqrt(H))); the forget
    bias of unit k of a head of d is 5 - 12 (k / (d - 1))^0.3 (``powerlaw``, the code's for a first block) or rises
    from 3 to 6 (``linear``); all other biases 0. W ~ N(0, 2 / (5 I)), the "small init" of their projections, since
    the cell in the code has none of its own.
    """

    gates = (Gate("i"), Gate("f"), Gate("z"), Gate("o"))
    states = ("h", "c", "n", "m")

    @property
    def formula(self) -> str:
        return f"4*H*(I + H//{self.options.heads} + 1)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        log_f = g.f if self.options.forget_gate == "exp" else -softplus(-g.f)
        carried = torch.where(s.n == 0, g.i, log_f + s.m)
        m = torch.maximum(carried, g.i)
        i, f = torch.exp(g.i - m), torch.exp(carried - m)
        c = f * s.c + i * torch.tanh(g.z)
        n = f * s.n + i
        return {"h": torch.sigmoid(g.o) * c / n, "c": c, "n": n, "m": m}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        heads = self.options.heads
        if hidden_size % heads:
            raise UserError(f"{heads} heads do not divide the {hidden_size} units of the layer")
        return {**super().shapes(input_size, hidden_size), "weight_hh": (4 * hidden_size, hidden_size // heads)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs = parameters["weight_ih"]
        inputs.normal_(0, math.sqrt(2 / (5 * inputs.shape[1])), generator=generator)
        bound = 0 if self.options.recurrent_init == "zero" else 1 / math.sqrt(hidden_size)
        parameters["weight_hh"].uniform_(-bound, bound, generator=generator)
        size = hidden_size // self.options.heads
        place = torch.arange(size) / max(size - 1, 1)
        powerlaw = self.options.forget_bias == "powerlaw"
        bias = 5 - 12 * place**0.3 if powerlaw else 3 + 3 * place
        rows(("i", "f", "z", "o"), parameters["bias"].zero_(), "f").copy_(bias.repeat(self.options.heads))

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        packed, heads = parameters["weight_hh"], self.options.heads
        if heads > 1:
            size = packed.shape[1]
            one = torch.eye(heads, dtype=packed.dtype, device=packed.device).unsqueeze(1).unsqueeze(-1)
            blocks = packed.view(4, heads, size, 1, size) * one
            packed = blocks.reshape(4 * heads * size, heads * size)
        return Weights(parameters["weight_ih"], (packed,), parameters["bias"], None, {})
