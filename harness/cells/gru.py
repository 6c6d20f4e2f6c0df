"""The gated recurrent unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from harness.cells.base import GatedCell, Options
from harness.kernels import Gate


class GRUOptions(Options):
    reset: Literal["after", "before"] = "after"


class GRU(GatedCell):
    """GRU: Cho et al. (2014), arXiv 1406.1078; the reset after the product as in cuDNN and ``torch.nn.GRU``.

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                        reset gate
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                        update gate
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b_hn))            candidate, ``reset="after"``
    n_t = tanh(W_n x_t + U_n (r_t * h_{t-1}) + b_n)                   candidate, ``reset="before"`` (the paper)
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order r, z, n; 3 H (I + H + 1) parameters, and
    H more with ``reset="after"`` for b_hn.

    z_t keeps the old state, as in Cho et al. (2014) and torch; Chung et al. (2014) write 1 - z_t for it.
    Initialisation: torch's U(-1/sqrt(H), 1/sqrt(H)).
    """

    Options: ClassVar[type[Options]] = GRUOptions

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        if self.options.reset == "after":
            self.gates = (Gate("r"), Gate("z"), Gate("n", split=True))
        else:
            self.gates = (Gate("r"), Gate("z"), Gate("n", sources=("rh",)))
            self.intermediates = ("rh",)

    def first_stage(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        return {"rh": torch.sigmoid(g.r) * s.h}

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        z = torch.sigmoid(g.z)
        n = torch.tanh(g.n_x + torch.sigmoid(g.r) * g.n_h) if self.options.reset == "after" else torch.tanh(g.n)
        return {"h": (1 - z) * n + z * s.h}
