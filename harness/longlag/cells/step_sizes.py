"""Step sizes of a discretised recurrence: how they are drawn, and the memory that follows from them."""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.initialise import half_lives, retained
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
    """Of units that keep exp(-rate dt) of what they hold at every step."""

    half_life: float | None = Field(default=None, gt=0)

    def draw_dt(self, rate: Tensor, generator: torch.Generator | None, negative: bool = False) -> Tensor:
        """The step size of each unit: drawn, or for half-lives from a hundredth of ``half_life`` up to it.

        Args:
            rate: of each unit; what it keeps halves in log 2 / (rate dt) steps.
            generator: where the numbers come from.
            negative: whether twice what is kept, less 1, is kept in its place.
        """
        dt = self.draw_log_dt(len(rate), generator).exp().clamp(min=1e-4)
        return dt if self.half_life is None else self.halving(rate, negative)

    def halving(self, rate: Tensor, negative: bool = False) -> Tensor:
        """The step sizes for half-lives from a hundredth of ``half_life`` up to it; arguments as of `draw_dt`."""
        assert self.half_life is not None
        lives = half_lives(self.half_life, self.half_life / 100, len(rate))
        if negative:
            return -(((1 + retained(lives)) / 2).log() / rate).float()
        return (math.log(2) / (rate * lives)).float()


def before_softplus(values: Tensor) -> Tensor:
    """Of what softplus makes `values`."""
    return values + torch.log(-torch.expm1(-values))


def zero_order_hold(log_dt: Tensor, a_re: Tensor, a_im: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real and imaginary parts of exp(dt A) and (exp(dt A) - 1) / A, in float32 or wider."""
    wide = torch.promote_types(log_dt.dtype, torch.float32)  # a phase in bfloat16 is no phase
    log_dt, a_re, a_im = (tensor.to(wide) for tensor in (log_dt, a_re, a_im))
    dt = torch.exp(log_dt)
    size, phase = dt * a_re, dt * a_im
    # exp(dt A) - 1 without cancellation at small dt
    minus_1 = torch.expm1(size) * torch.cos(phase) - 2 * torch.sin(phase / 2).square()
    rotated = torch.exp(size) * torch.sin(phase)
    square = a_re.square() + a_im.square()
    hold_re, hold_im = (minus_1 * a_re + rotated * a_im) / square, (rotated * a_re - minus_1 * a_im) / square
    return minus_1 + 1, rotated, hold_re, hold_im
