"""Long expressive memory: two states whose time steps are gates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.initialise import half_lives, refuse_unused, retained
from longlag.kernels import Gate, Named
from longlag.options import Options


class LEMOptions(Options):
    dt: float = Field(default=1.0, gt=0, le=1)
    half_life: float | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> LEMOptions:
        if self.half_life is not None:
            refuse_unused(self, "dt", "with half_life, which sets it")
        return self


class LEM(GatedCell[LEMOptions]):
    """LEM, long expressive memory: Rusch, Mishra, Erichson and Mahoney (2022), arXiv 2110.04744.

    p_t = dt sigmoid(W_p x_t + U_p y_{t-1} + b_p)                     time step of y
    q_t = dt sigmoid(W_q x_t + U_q y_{t-1} + b_q)                     time step of z
    z_t = (1 - q_t) * z_{t-1} + q_t * tanh(W_z x_t + U_z y_{t-1} + b_z)
    y_t = (1 - p_t) * y_{t-1} + p_t * tanh(W_y x_t + U_y z_t + b_y)   output; it reads the new z

    Shapes: each W ``[H, I]``, U ``[H, H]``, b ``[H]``; 4 H (I + H + 1) parameters. The authors' code has two biases a
    gate, as torch has, which adds 4 H and nothing else. States: ``y`` and ``z``.

    Differs from `LSTM` and `GRU` in that what a gate takes in is what it lets go, in both of two states, and in the cap
    dt on both gates; from `LSTM` in that no gate stands between the memory and the output.

    Initialisation as the authors' code: everything U(-1/sqrt(H), 1/sqrt(H)). At the gates' middle a state keeps
    1 - dt/2 a step: it halves in 1 step with dt = 1, the code's default, in 57 with the 0.0242 of their adding problem
    over 10,000 steps, in 4.1 with the 0.31 of permuted MNIST. Results depend on dt more than on anything else.
    ``half_life`` = T replaces it by one constant for each unit, 2 - 2^(1 - 1/tau), so that at the gates' middle
    half-lives tau are evenly spaced in the logarithm from 1 to T.
    """

    gates = (
        Gate("p", sources=("y",)),
        Gate("q", sources=("y",)),
        Gate("z", sources=("y",)),
        Gate("y", sources=("new",)),
    )
    states = ("y", "z")
    outputs = ("y",)
    intermediates = ("new",)
    formula = "4*H*(I + H + 1)"

    def __init__(self, options: LEMOptions | None = None) -> None:
        super().__init__(options)
        self.units = () if self.options.half_life is None else ("dt",)

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        q = self._dt(p) * torch.sigmoid(g.q)
        return {"new": (1 - q) * s.z + q * torch.tanh(g.z)}

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        step = self._dt(p) * torch.sigmoid(g.p)
        return {"y": (1 - step) * s.y + step * torch.tanh(g.y), "z": self.first_stage(g, s, p)["new"]}

    def _dt(self, p: Named) -> float | Tensor:
        dt: float | Tensor = self.options.dt if self.options.half_life is None else p.dt
        return dt

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, shape in super().shapes(input_size, hidden_size).items() if name != "dt"}

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        longest = self.options.half_life
        return {} if longest is None else {"dt": (2 - 2 * retained(half_lives(longest, 1, hidden_size))).float()}
