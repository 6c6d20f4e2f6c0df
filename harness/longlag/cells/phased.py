"""The phased LSTM: a clock of its own opens each unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.base import rows
from longlag.cells.initialise import Init, half_lives, refuse_unused
from longlag.cells.lstm import LSTM, Bias, LSTMOptions
from longlag.kernels import Layout, Named


class PhasedLSTMOptions(LSTMOptions):
    peepholes: bool = True
    init: Init = "normal"
    forget_bias: Bias | None = 0.0
    input_bias: Bias | None = -0.1
    period_min: float = Field(default=1.0, gt=0)
    period_max: float = Field(default=1000.0, gt=0)
    open_ratio: float = Field(default=0.05, gt=0, le=1)
    leak: float = Field(default=0.001, ge=0, le=1)
    half_life: float | None = Field(default=None, gt=0)

    @property
    def openness(self) -> float:
        """Mean of the time gate over a period."""
        return self.open_ratio / 2 + self.leak * (1 - self.open_ratio**2) / 2

    @property
    def fastest(self) -> float:
        """Half-life in steps with the forget gate at its middle."""
        return 2 * math.log(2) / self.openness

    @model_validator(mode="after")
    def _clocks(self) -> Self:
        if self.period_min > self.period_max:
            raise ValueError(f"period_min is at most period_max, got {self.period_min} and {self.period_max}")
        if self.half_life is None:
            return self
        if self.forget_gate != "own":
            raise ValueError("half_life sets the forget gate's bias: it needs forget_gate 'own'")
        refuse_unused(self, "forget_bias", "with half_life, which sets it")
        refuse_unused(self, "chrono_max", "with half_life, which sets the forget gate's bias")
        if self.half_life <= self.fastest:
            raise ValueError(
                f"half_life is above the {self.fastest:.3g} steps in which a unit with open_ratio "
                f"{self.open_ratio:g} halves by itself, got {self.half_life:g}"
            )
        return self


class PhasedLSTM(LSTM[PhasedLSTMOptions]):
    """Phased LSTM: Neil, Pfeiffer and Liu (2016), arXiv 1610.09513.

    phi_t = ((t - s) mod tau) / tau                 phase of a unit's clock; t = 0 is the first step
    k_t = 2 phi / r                                 while it opens, phi < r / 2
    k_t = 2 - 2 phi / r                             while it closes, phi < r
    k_t = leak * phi                                while it is closed
    c_t = k_t * c' + (1 - k_t) * c_{t-1}            c', h': what an `LSTM` with peepholes makes of x_t, h_{t-1}, c_{t-1}
    h_t = k_t * h' + (1 - k_t) * h_{t-1}

    Shapes: as `LSTM` with peepholes, and tau, r and s ``[H]`` (``period``, ``open_ratio``, ``shift``), all of them
    trained, the first two used as |tau| and |r|; 4 H (I + H + 1) + 6 H parameters. States: ``h``, ``c``, and the step
    number ``t``, which no gradient flows through. All switches of `LSTM` work here too.

    Differs from `LSTM` in its clocks; from `ClockworkRNN` in that they are smooth, shifted against each other and
    learned, and that no connection is left out. With tau = r = 1 and s = 1/2 the gate is open at every step: an `LSTM`.

    Initialisation: weights and peepholes N(0, 0.1^2), b_i = -0.1, other biases 0, r = 0.05, as in the authors' code;
    tau log-uniform between ``period_min`` and ``period_max``, s ~ U(0, tau) (their frequency task: e to e^3 steps). The
    authors set the leak to 0 for evaluation; here a layer does the same in training and evaluation. k is 0.0255 in the
    mean, so that a cell whose forget gate is at its middle halves in some 50 steps, whatever its period.
    ``half_life`` = T sets b_f so that half-lives are evenly spaced in the logarithm from there to T, to first order in
    1 - f.
    """

    def __init__(self, options: PhasedLSTMOptions | None = None) -> None:
        super().__init__(options)
        self.clocked = self.states
        self.states = (*self.states, "t")
        self.units = (*self.units, "period", "open_ratio", "shift")

    @property
    def formula(self) -> str:
        return f"{super().formula} + 3*H"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        t = torch.floor(s.t)  # a whole number anyway; the derivative of floor is zero
        cycles = (t - p.shift) / p.period.abs()
        phase, ratio = cycles - torch.floor(cycles), p.open_ratio.abs()
        rising = 2 * phase / ratio
        k = torch.where(rising < 1, rising, torch.where(rising < 2, 2 - rising, self.options.leak * phase))
        new = super().core(g, s, p)
        return {**{name: k * new[name] + (1 - k) * getattr(s, name) for name in self.clocked}, "t": t + 1}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        super().initialise(parameters, hidden_size, generator)
        o = self.options
        period = parameters["period"].uniform_(math.log(o.period_min), math.log(o.period_max), generator=generator)
        period.exp_()
        parameters["shift"].uniform_(0, 1, generator=generator).mul_(period)
        parameters["open_ratio"].fill_(o.open_ratio)
        if o.half_life is not None:
            bias = rows(Layout.of(self).biases, parameters["bias"], "f")
            lost = math.log(2) / half_lives(o.half_life, o.fastest, len(bias)) / o.openness
            bias.copy_(torch.logit(1 - lost))
