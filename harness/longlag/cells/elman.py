"""Elman networks: one dense recurrence and a squashing function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.cells.initialise import draw, refuse_unused
from longlag.cells.orthogonal import modrelu
from longlag.kernels import Gate, Named
from longlag.options import Options

Activation = Literal["tanh", "relu", "sigmoid", "linear", "modrelu"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "linear": lambda a: a,
}

INCOMING = 15
"""Non-zero recurrent weights into a unit in the sparse initialisation."""

RADIUS = 0.95
"""Spectral radius of the recurrent matrix there."""


class RNNOptions(Options):
    activation: Activation = "tanh"
    leak: float = Field(default=1.0, gt=0, le=1)
    init: Literal["uniform", "glorot", "normal", "orthogonal", "sparse"] = "uniform"
    std: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _check(self) -> RNNOptions:
        if self.init != "normal":
            refuse_unused(self, "std", "unless init is 'normal'")
        return self


class RNN(GatedCell[RNNOptions]):
    """The simple recurrent network of Elman (1990), "Finding structure in time".

    a_t = W x_t + U h_{t-1} + b
    h_t = f(a_t)                                    f = tanh (default), ReLU, the logistic sigmoid, or the identity
    h_t = (1 - leak) h_{t-1} + leak f(a_t)          with ``leak`` below 1: leaky integrator units, Jaeger et al. (2007)
    h_t = sign(v_t) relu(|v_t| + b)                 with ``modrelu``, v_t = W x_t + U h_{t-1}; b is ``offset``

    Shapes: W ``[H, I]``, U ``[H, H]``, b ``[H]``; H (I + H + 1) parameters. With ``modrelu`` and ``init="orthogonal"``
    it is `ExpRNN` without its constraint: the same nonlinearity, a matrix that starts orthogonal and is free.

    Differs from ``torch.nn.RNN`` in having one bias where torch adds two; from `IRNN` and `NPRNN` in its
    initialisation. The leak is one constant for all units; in `MinimalRNN` and `GRU` it is a gate.

    Initialisation: ``uniform``, U(-1/sqrt(H), 1/sqrt(H)), torch's own (the paper states none); ``glorot`` (Arjovsky
    et al. 2016); ``normal``, N(0, std^2) and zero biases, the "basic tanh" (std 0.1) and "sigmoid" (std 0.01) of
    Pascanu et al. (2013); ``orthogonal``; ``sparse``, their "smart tanh": 15 non-zero incoming recurrent weights a
    unit, spectral radius 0.95, W ~ N(0, 0.01^2), zero biases.
    """

    formula = "H*(I + H + 1)"

    def __init__(self, options: RNNOptions | None = None) -> None:
        super().__init__(options)
        offset = self.options.activation == "modrelu"
        self.gates, self.units = (Gate("a", bias=not offset),), ("offset",) if offset else ()

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        activation, leak = self.options.activation, self.options.leak
        new = modrelu(g.a, p.offset) if activation == "modrelu" else ACTIVATIONS[activation](g.a)
        return {"h": new if leak == 1 else (1 - leak) * s.h + leak * new}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        if self.options.init != "sparse":
            draw(parameters, hidden_size, generator, self.options.init, std=self.options.std)
            return
        parameters["weight_ih"].normal_(0, 0.01, generator=generator)
        parameters["weight_hh"].copy_(sparse(hidden_size, generator))
        for name in ("bias", "offset"):
            if name in parameters:
                parameters[name].zero_()


def sparse(size: int, generator: torch.Generator | None) -> Tensor:
    """A Gaussian ``[size, size]`` matrix of spectral radius `RADIUS` with `INCOMING` non-zeros a row (or all)."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for row in matrix:
        chosen = torch.randperm(size, generator=generator)[:INCOMING]
        row[chosen] = torch.randn(len(chosen), dtype=torch.float64, generator=generator)
    radius: Tensor = torch.linalg.eigvals(matrix).abs().max()
    return matrix * (RADIUS / radius)


class IRNNOptions(Options):
    scale: float = 1.0
    input_std: float = 0.001


class IRNN(GatedCell[IRNNOptions]):
    """The identity-initialised ReLU network of Le, Jaitly and Hinton (2015), arXiv 1504.00941.

    h_t = relu(W x_t + U h_{t-1} + b),  U = scale * I and b = 0 at first, W ~ N(0, input_std^2)

    Shapes: W ``[H, I]``, U ``[H, H]``, b ``[H]``; H (I + H + 1) parameters.

    Differs from `RNN` with ReLU only in its initialisation: at first the state is kept for ever
    (``scale`` below 1 forgets, the paper uses 0.01 where no long memory is needed). `NPRNN` starts from a random
    positive definite matrix of norm 1 instead.
    """

    gates = (Gate("a"),)
    formula = "H*(I + H + 1)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": torch.relu(g.a)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        parameters["weight_ih"].normal_(0, self.options.input_std, generator=generator)
        torch.nn.init.eye_(parameters["weight_hh"]).mul_(self.options.scale)
        parameters["bias"].zero_()


class NPRNN(GatedCell):
    """The np-RNN of Talathi and Vartak (2015), arXiv 1511.03771: ReLU, normalised positive definite at first.

    h_t = relu(W x_t + U h_{t-1} + b),  U = (A + I) / e at first,  A = R^T R / H,  R ~ N(0, 1)^{H x H}

    e is the largest eigenvalue of A + I: the largest of U is then 1 and all others lie between 0 and 1.

    Shapes: W ``[H, I]``, U ``[H, H]``, b ``[H]``; H (I + H + 1) parameters.

    Differs from `IRNN` only in U: one direction is kept for ever, the others fade. b = 0; W ~ N(0, a^2 / H) with
    a = sqrt(2) exp(1.2 / (max(H, 6) - 2.4)), the gain that keeps the norm of a random ReLU layer (Sussillo and Abbott
    2014); that the paper scales W so is recalled, not verified.
    """

    gates = (Gate("a"),)
    formula = "H*(I + H + 1)"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": torch.relu(g.a)}

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        gain = math.sqrt(2) * math.exp(1.2 / (max(hidden_size, 6) - 2.4))
        parameters["weight_ih"].normal_(0, gain / math.sqrt(hidden_size), generator=generator)
        root = torch.randn(hidden_size, hidden_size, dtype=torch.float64, generator=generator)
        matrix = root.T @ root / hidden_size + torch.eye(hidden_size, dtype=torch.float64)
        parameters["weight_hh"].copy_(matrix / torch.linalg.eigvalsh(matrix).max())
        parameters["bias"].zero_()
