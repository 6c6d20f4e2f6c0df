"""Step sizes of a discretised recurrence: how they are drawn, and the memory that follows from them."""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.initialise import half_lives
from longlag.cells.readout import uniform
from longlag.options import Options


class StepOptions(Options):
    dt_min: float = Field(default=0.001, gt=0)
    dt_max: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min is at most dt_max, got {self.dt_min} and {self.dt_max}")
        return self

    def draw_log_dt(self, channels: int, generator: torch.Generator | None) -> Tensor:
        """Logarithms of step sizes, uniform between those of ``dt_min`` and ``dt_max``."""
        return uniform((channels,), math.log(self.dt_min), math.log(self.dt_max), generator)


class DecayOptions(StepOptions):
    """Of heads that keep exp(-rate dt) of what they hold at every step."""

    half_life: float | None = Field(default=None, gt=0)

    def draw_dt(self, rate: Tensor, generator: torch.Generator | None) -> Tensor:
        """The step size of each head: drawn, or for half-lives from a hundredth of ``half_life`` up to it.

        Args:
            rate: of each head; what it keeps halves in log 2 / (rate dt) steps.
            generator: where the numbers come from.
        """
        heads = len(rate)
        dt = self.draw_log_dt(heads, generator).exp().clamp(min=1e-4)
        if self.half_life is None:
            return dt
        return (math.log(2) / (rate * half_lives(self.half_life, self.half_life / 100, heads))).float()


def before_softplus(values: Tensor) -> Tensor:
    """Of what softplus makes `values`."""
    return values + torch.log(-torch.expm1(-values))
