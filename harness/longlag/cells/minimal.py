"""The minimal recurrent network: one gate over an encoded input."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.gru import InitOptions
from longlag.cells.initialise import draw
from longlag.kernels import Gate, Named


class MinimalRNN(GatedCell[InitOptions]):
    """MinimalRNN: Chen (2017), arXiv 1711.06788.

    z_t = tanh(W x_t + b_z)                                           the encoded input, no recurrence in it
    u_t = sigmoid(U_h h_{t-1} + U_z z_t + b_u)                        update gate
    h_t = u_t * h_{t-1} + (1 - u_t) * z_t

    Shapes: W ``[H, I]``, U_h and U_z ``[H, H]``, biases ``[H]``; H (I + 1) + 2 H H + H parameters.

    Differs from `MGU` and `GRU` in that the candidate does not see the state: what the state can hold is confined to
    averages of encoded inputs. The paper leaves the encoder open; this is the one of its experiments.
    Initialisation: U(-1/sqrt(H), 1/sqrt(H)), torch's; ``init="orthogonal"`` is near the critical initialisation of
    Chen, Pennington and Schoenholz (2018).
    """

    gates = (
        Gate("x", sources=()),
        Gate("h", inputs=False),
        Gate("z", inputs=False, sources=("z",), bias=False),
    )
    intermediates = ("z",)
    formula = "H*(I + 1) + 2*H*H + H"

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"z": torch.tanh(g.x)}

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        u = torch.sigmoid(g.h + g.z)
        return {"h": u * s.h + (1 - u) * torch.tanh(g.x)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        draw(parameters, hidden_size, generator, self.options.init, std=self.options.std)
