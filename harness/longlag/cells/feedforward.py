"""A layer without recurrence: the control that tells what memory is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.elman import ACTIVATIONS
from longlag.cells.initialise import draw
from longlag.kernels import Gate, Named
from longlag.options import Options


class FeedForwardOptions(Options):
    activation: Literal["tanh", "relu", "sigmoid"] = "tanh"


class FeedForward(GatedCell[FeedForwardOptions]):
    """No memory: each step is seen by itself, as by the frame-wise MLP of Graves and Schmidhuber (2005).

    h_t = f(W x_t + b)                                                f = tanh (default), ReLU or the logistic sigmoid

    Shapes: W ``[H, I]``, b ``[H]``; H (I + 1) parameters.

    Differs from `RNN` in one thing: there is no product with h_{t-1}. What another cell scores above it, it owes to
    what it remembers. The state is the last output; nothing reads it, so that no gradient flows through time.

    Initialisation: as `RNN`, U(-1/sqrt(H), 1/sqrt(H)).
    """

    memoryless = True
    gates = (Gate("a", sources=()),)
    formula = "H*(I + 1)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": ACTIVATIONS[self.options.activation](g.a)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        draw(parameters, hidden_size, generator, "uniform")
