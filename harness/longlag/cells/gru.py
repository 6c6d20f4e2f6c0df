"""The gated recurrent unit, and the same with one gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.base import GatedCell, rows
from longlag.cells.initialise import Init, chrono, draw, refuse_unused
from longlag.kernels import Gate, Named
from longlag.options import Options


class InitOptions(Options):
    init: Init = "uniform"
    std: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _check_init(self) -> InitOptions:
        if self.init != "normal":
            refuse_unused(self, "std", "unless init is 'normal'")
        return self


class GRUOptions(InitOptions):
    reset: Literal["after", "before"] = "after"
    chrono_max: float | None = Field(default=None, gt=2)


class GRU(GatedCell[GRUOptions]):
    """GRU: Cho et al. (2014), arXiv 1406.1078; the reset after the product as in cuDNN and ``torch.nn.GRU``.

    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)                        reset gate
    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)                        update gate
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b_hn))            candidate, ``reset="after"``
    n_t = tanh(W_n x_t + U_n (r_t * h_{t-1}) + b_n)                   candidate, ``reset="before"`` (the paper)
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order r, z, n; 3 H (I + H + 1) parameters, and
    H more with ``reset="after"`` for b_hn.

    z_t keeps the old state, as in Cho et al. (2014) and torch; Chung et al. (2014) write 1 - z_t for it.
    Differs from `MGU` in having two gates, from `MUT2` (reset before) in the input of the reset gate.

    Initialisation: torch's U(-1/sqrt(H), 1/sqrt(H)); the paper's is orthogonal recurrent matrices and N(0, 0.01^2)
    elsewhere (recalled): ``init="orthogonal"`` comes near. ``chrono_max`` = T_max draws b_z = log u,
    u ~ U([1, T_max - 1]), which Tallec and Ollivier (2018) derive for gated units that, as here, interpolate.
    """

    def __init__(self, options: GRUOptions | None = None) -> None:
        super().__init__(options)
        if self.options.reset == "after":
            self.gates = (Gate("r"), Gate("z"), Gate("n", split=True))
        else:
            self.gates = (Gate("r"), Gate("z"), Gate("n", sources=("rh",)))
            self.intermediates = ("rh",)

    @property
    def formula(self) -> str:
        return "3*H*(I + H + 1)" + (" + H" if self.options.reset == "after" else "")

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"rh": torch.sigmoid(g.r) * s.h}

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        z = torch.sigmoid(g.z)
        n = torch.tanh(g.n_x + torch.sigmoid(g.r) * g.n_h) if self.options.reset == "after" else torch.tanh(g.n)
        return {"h": (1 - z) * n + z * s.h}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        draw(parameters, hidden_size, generator, self.options.init, std=self.options.std)
        if self.options.chrono_max is not None:
            bias = rows(("r", "z", "n"), parameters["bias"], "z")
            bias.copy_(chrono(bias, self.options.chrono_max, generator))


class MGU(GatedCell[InitOptions]):
    """Minimal gated unit: Zhou, Wu, Zhang and Zhou (2016), arXiv 1603.09420.

    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)                        the one gate
    n_t = tanh(W_n x_t + U_n (f_t * h_{t-1}) + b_n)                   candidate
    h_t = (1 - f_t) * h_{t-1} + f_t * n_t

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``, packed in the order f, n; 2 H (I + H + 1) parameters.

    Differs from `GRU` with the reset before the product in that one gate resets and updates: what is not overwritten
    is not read by the candidate either. Initialisation: U(-1/sqrt(H), 1/sqrt(H)), torch's; the paper states none.
    """

    gates = (Gate("f"), Gate("n", sources=("fh",)))
    intermediates = ("fh",)
    formula = "2*H*(I + H + 1)"

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"fh": torch.sigmoid(g.f) * s.h}

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        f = torch.sigmoid(g.f)
        return {"h": (1 - f) * s.h + f * torch.tanh(g.n)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        draw(parameters, hidden_size, generator, self.options.init, std=self.options.std)
