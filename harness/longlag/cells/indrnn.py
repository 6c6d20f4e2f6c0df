"""The independently recurrent network: every unit sees only itself through time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from longlag.cells.base import GatedCell
from longlag.cells.elman import ACTIVATIONS
from longlag.kernels import Gate, Named, Weights
from longlag.options import Options


class IndRNNOptions(Options):
    activation: Literal["relu", "tanh"] = "relu"
    recurrent_max: float | None = Field(default=None, gt=0)


class IndRNN(GatedCell[IndRNNOptions]):
    """IndRNN: Li, Li, Cook, Zhu and Gao (2018), arXiv 1803.04831.

    h_t = f(W x_t + u * h_{t-1} + b),  f = ReLU (default) or tanh

    Shapes: W ``[H, I]``, u and b ``[H]`` (``u`` is ``recurrent``); H (I + 2) parameters.

    Differs from `RNN` in a diagonal recurrence: units mix only from layer to layer, so it wants depth of 2 or more,
    and over T steps a unit's gradient is scaled by u^T (or cut off by f). From `AntisymmetricRNN`, `LRU` and other
    linear recurrences in having a nonlinearity inside the loop.

    Initialisation as in the authors' code: W Kaiming-uniform with a = 8, U(-sqrt(6/(65 I)), sqrt(6/(65 I))); b = 0;
    u ~ U(0, recurrent_max), or U(0, 1) if that is not given. ``recurrent_max`` also bounds |u|: the authors clip u to
    it after every update, and set it to 2^(1/T) for sequences of T steps; here what is used is u clipped, with the
    gradient going to u unchanged.
    """

    gates = (Gate("a", sources=()),)
    units = ("recurrent",)
    formula = "H*(I + 2)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": ACTIVATIONS[self.options.activation](g.a + p.recurrent * s.h)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        nn.init.kaiming_uniform_(parameters["weight_ih"], a=8, generator=generator)
        parameters["bias"].zero_()
        bound = self.options.recurrent_max
        parameters["recurrent"].uniform_(0, 1 if bound is None else bound, generator=generator)

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        recurrent, bound = parameters["recurrent"], self.options.recurrent_max
        if bound is not None:
            recurrent = recurrent + (recurrent.clamp(-bound, bound) - recurrent).detach()
        return Weights(parameters["weight_ih"], (), parameters["bias"], None, {"recurrent": recurrent})
