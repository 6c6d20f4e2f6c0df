"""The simple recurrent unit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from longlag.cells.base import GatedCell, rows
from longlag.kernels import Gate, Named, Weights
from longlag.options import Options


class SRUOptions(Options):
    highway_bias: float = 0.0
    rescale: bool = True


class SRU(GatedCell[SRUOptions]):
    """SRU: Lei, Zhang, Wang, Dai and Artzi (2018), "Simple recurrent units for highly parallelizable recurrence".

    f_t = sigmoid(W_f x_t + v_f * c_{t-1} + b_f)        forget gate
    r_t = sigmoid(W_r x_t + v_r * c_{t-1} + b_r)        reset gate of the highway connection
    c_t = f_t * c_{t-1} + (1 - f_t) * (W x_t)           cell state
    h_t = r_t * c_t + (1 - r_t) * alpha * x_t           output

    Where I differs from H, x_t in the last line is W_s x_t, and alpha is part of W_s from the start, as in the
    authors' code.

    Shapes: W, W_f, W_r (and W_s) ``[H, I]``, packed in that order; v, b ``[H]``. 3 H I + 4 H parameters where I = H,
    4 H I + 4 H elsewhere.

    Differs from `LSTM` and `GRU` in that a unit reads its own past only, through v (no recurrent matrix); from
    `MinGRU` in that its gates do read the state, unit by unit, and in the highway connection.

    Initialisation, as the authors' code: W ~ U(-sqrt(3/I), sqrt(3/I)), variance 1/I; W_f and W_r and the v's, of
    variance 1, are multiplied by sqrt(1/2); b_f = 0, b_r = ``highway_bias``; alpha = sqrt(1 + 2 exp(highway_bias)),
    1 with ``rescale=False``.
    """

    gates = (
        Gate("z", sources=(), bias=False),
        Gate("f", sources=()),
        Gate("r", sources=()),
        Gate("skip", sources=(), bias=False),
    )
    states = ("c", "h")  # what runs through time comes first: records and curves lead with it
    units = ("v_f", "v_r")
    formula = "(3 + (I != H))*H*I + 4*H"

    @property
    def alpha(self) -> float:
        """What the highway's input is multiplied by, so that its variance is kept."""
        return math.sqrt(1 + 2 * math.exp(self.options.highway_bias)) if self.options.rescale else 1.0

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        f = torch.sigmoid(g.f + p.v_f * s.c)
        r = torch.sigmoid(g.r + p.v_r * s.c)
        c = f * s.c + (1 - f) * g.z
        return {"h": r * c + (1 - r) * g.skip, "c": c}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        matrices = 3 if input_size == hidden_size else 4
        return {**super().shapes(input_size, hidden_size), "weight_ih": (matrices * hidden_size, input_size)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        weight = parameters["weight_ih"]
        hidden_size = len(parameters["v_f"])
        if len(weight) == 3 * hidden_size:
            skip = self.alpha * torch.eye(hidden_size, dtype=weight.dtype, device=weight.device)
            weight = torch.cat([weight, skip])
        return super().weights({**parameters, "weight_ih": weight})

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        weight = parameters["weight_ih"]
        bound = math.sqrt(3 / weight.shape[1])
        weight.uniform_(-bound, bound, generator=generator)
        weight[hidden_size : 3 * hidden_size].mul_(math.sqrt(0.5))
        weight[3 * hidden_size :].mul_(self.alpha)
        for name in self.units:
            parameters[name].uniform_(-math.sqrt(1.5), math.sqrt(1.5), generator=generator)
        parameters["bias"].zero_()
        rows(("f", "r"), parameters["bias"], "r").fill_(self.options.highway_bias)
