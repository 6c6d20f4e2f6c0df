"""Elman networks: one dense recurrence and a squashing function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from harness.cells.base import GatedCell, Options
from harness.kernels import Gate

Activation = Literal["tanh", "relu", "sigmoid", "linear"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "linear": lambda a: a,
}


class RNNOptions(Options):
    activation: Activation = "tanh"


class RNN(GatedCell):
    """The simple recurrent network of Elman (1990), "Finding structure in time".

    h_t = f(W x_t + U h_{t-1} + b),  f = tanh (default), ReLU, the logistic sigmoid, or the identity

    Shapes: W ``[H, I]``, U ``[H, H]``, b ``[H]``; H (I + H + 1) parameters.

    Differs from ``torch.nn.RNN`` in having one bias where torch adds two. Initialisation: U(-1/sqrt(H), 1/sqrt(H)),
    torch's own.
    """

    Options: ClassVar[type[Options]] = RNNOptions
    gates = (Gate("a"),)

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        return {"h": ACTIVATIONS[self.options.activation](g.a)}


class IRNNOptions(Options):
    scale: float = 1.0
    input_std: float = 0.001


class IRNN(GatedCell):
    """The identity-initialised ReLU network of Le, Jaitly and Hinton (2015), arXiv 1504.00941.

    h_t = relu(W x_t + U h_{t-1} + b),  U = scale * I and b = 0 at first, W ~ N(0, input_std^2)

    Shapes: W ``[H, I]``, U ``[H, H]``, b ``[H]``; H (I + H + 1) parameters.

    Differs from `RNN` with ReLU only in its initialisation: at first the state is kept for ever
    (``scale`` below 1 forgets, the paper uses 0.01 where no long memory is needed).
    """

    Options: ClassVar[type[Options]] = IRNNOptions
    gates = (Gate("a"),)

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        return {"h": torch.relu(g.a)}

    def initialise(
        self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None
    ) -> None:
        parameters["weight_ih"].normal_(0, self.options.input_std, generator=generator)
        torch.nn.init.eye_(parameters["weight_hh"]).mul_(self.options.scale)
        parameters["bias"].zero_()
