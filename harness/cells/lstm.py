"""The long short-term memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.cells.base import GatedCell, Options, rows
from harness.kernels import Gate


class LSTMOptions(Options):
    forget_bias: float = 1.0


class LSTM(GatedCell):
    """LSTM with forget gates: Gers, Schmidhuber and Cummins (2000), after Hochreiter and Schmidhuber (1997).

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)      input gate
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)      forget gate
    z_t = tanh(W_z x_t + U_z h_{t-1} + b_z)         block input
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)      output gate
    c_t = f_t * c_{t-1} + i_t * z_t                 cell state (the constant error carousel where f = 1)
    h_t = o_t * tanh(c_t)

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order i, f, z, o; 4 H (I + H + 1) parameters.

    Differs from ``torch.nn.LSTM`` in having one bias where torch adds two. Initialisation: torch's
    U(-1/sqrt(H), 1/sqrt(H)), then the forget gate's bias is set to ``forget_bias`` (1, Jozefowicz et al. 2015).
    """

    Options: ClassVar[type[Options]] = LSTMOptions
    gates = (Gate("i"), Gate("f"), Gate("z"), Gate("o"))
    states = ("h", "c")

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        c = torch.sigmoid(g.f) * s.c + torch.sigmoid(g.i) * torch.tanh(g.z)
        return {"h": torch.sigmoid(g.o) * torch.tanh(c), "c": c}

    def initialise(
        self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None
    ) -> None:
        super().initialise(parameters, hidden_size, generator)
        rows(("i", "f", "z", "o"), parameters["bias"], "f").fill_(self.options.forget_bias)
