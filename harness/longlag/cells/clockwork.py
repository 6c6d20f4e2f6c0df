"""The clockwork RNN: groups of units that are computed at different rates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.kernels import Gate, Named, Weights
from longlag.options import Options


class ClockworkOptions(Options):
    groups: int = Field(default=9, ge=1)
    period_max: int | None = Field(default=None, ge=2)
    std: float = Field(default=0.1, gt=0)


class ClockworkRNN(GatedCell[ClockworkOptions]):
    """Clockwork RNN: Koutník, Greff, Gomez and Schmidhuber (2014), arXiv 1402.3511.

    h_t = tanh(W x_t + U h_{t-1} + b)               units whose period divides t; t = 0 is the first step
    h_t = h_{t-1}                                   all others

    The units are cut into ``groups`` G of equal size, or nearly: where G does not divide H the first H mod G have one
    unit more; there are at most H. Group g = 0, 1, ... has period 2^g. U is zero where a slower unit would read a
    faster one: a group reads itself and all slower ones.

    Shapes: W ``[H, I]``, b ``[H]``; U is kept as the vector of what is not zero (``recurrent``), row by row:
    H (I + 1) + H^2 (G + 1) / (2 G) parameters if G divides H. States: ``h``, and ``wait``, the steps before a unit's
    next turn, which no gradient flows through.

    Differs from `RNN` in its clocks and in what they leave out of U. A unit of period P keeps its value for P steps
    without loss, and its gradient: there are as many steps less to go through.

    Initialisation: W and U N(0, std^2), b = 0 (recalled, not verified). At first a group remembers about as long as its
    period: what it held is then replaced, and little of it read. ``period_max`` = T replaces the powers of two by
    periods evenly spaced in the logarithm from 1 to T, rounded.
    """

    gates = (Gate("a"),)
    states = ("h", "wait")
    units = ("period",)

    @property
    def formula(self) -> str:
        g = self.options.groups  # rows x columns of an upper triangle of blocks: (H^2 + sum of squared sizes) / 2
        squares = f"({g} - H%{g})*(H//{g})**2 + H%{g}*(H//{g} + 1)**2"
        return f"H*(I + 1) + (H*H + {squares})//2"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        wait = torch.floor(s.wait)  # a whole number anyway; the derivative of floor is zero
        due = wait <= 0
        return {
            "h": torch.where(due, torch.tanh(g.a), s.h),
            "wait": torch.where(due, p.period.detach(), wait) - 1,
        }

    def clocks(self, hidden_size: int) -> tuple[Tensor, Tensor]:
        """The group of every unit, and the periods of the groups."""
        count = min(self.options.groups, hidden_size)
        number = torch.arange(count)
        sizes = torch.full((count,), hidden_size // count) + (number < hidden_size % count)
        longest = self.options.period_max
        periods = 2.0**number if longest is None else (longest ** (number / max(count - 1, 1))).round()
        return number.repeat_interleave(sizes), periods

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        group, _ = self.clocks(hidden_size)
        read = int((group >= group.unsqueeze(1)).sum())
        return {"weight_ih": (hidden_size, input_size), "recurrent": (read,), "bias": (hidden_size,)}

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        group, periods = self.clocks(hidden_size)
        return {"period": periods[group], "reads": group >= group.unsqueeze(1)}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        values, reads = parameters["recurrent"], parameters["reads"]
        matrix = values.new_zeros(reads.shape).masked_scatter(reads, values)
        units = {"period": parameters["period"]}
        return Weights(parameters["weight_ih"], (matrix,), parameters["bias"], None, units)

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        for name in ("weight_ih", "recurrent"):
            parameters[name].normal_(0, self.options.std, generator=generator)
        parameters["bias"].zero_()
