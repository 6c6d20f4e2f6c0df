"""Recurrences that keep the norm: an orthogonal matrix composed from a skew-symmetric one, and modReLU."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from longlag.cells.base import GatedCell
from longlag.errors import UserError
from longlag.kernels import Gate, Named, Weights
from longlag.kernels.skew import Cayley, Exponential, SkewMap, composed
from longlag.options import Options, OptionsT_co


def rotations(above: Tensor, size: int, angles: Tensor) -> None:
    """Make the skew matrix of `above` block diagonal, in place: one 2 x 2 block for each of the n // 2 angles."""
    matrix = torch.zeros(size, size, dtype=above.dtype)
    first = 2 * torch.arange(size // 2)
    matrix[first, first + 1] = angles.to(above.dtype)
    index = torch.triu_indices(size, size, 1)
    above.copy_(matrix[index[0], index[1]])


def cayley_angles(count: int, generator: torch.Generator | None) -> Tensor:
    """-sqrt((1 - cos t) / (1 + cos t)) = -tan(t / 2) with t ~ U(0, pi / 2)."""
    return -torch.tan(torch.empty(count).uniform_(0, math.pi / 2, generator=generator) / 2)


class ModReLU(torch.autograd.Function):
    """``apply(a, b)`` -> sign(a) relu(|a| + b). The derivative needs the value alone: a pass keeps nothing else."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.sign(a) * torch.relu(torch.abs(a) + b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (value,) = ctx.saved_tensors
        return torch.where(value == 0, 0, gradient), torch.sign(value) * gradient


def modrelu(a: Tensor, b: Tensor) -> Tensor:
    """sign(a) relu(|a| + b), unit by unit."""
    value: Tensor = ModReLU.apply(a, b)  # type: ignore[no-untyped-call]
    return value


class SkewCell(GatedCell[OptionsT_co]):
    """What `ExpRNN` and `ScoRNN` share: h_t = modReLU(W h_{t-1} + V x_t), W orthogonal, composed from ``skew``.

    modReLU(a) = sign(a) relu(|a| + b), unit by unit; b ``[H]`` is the parameter ``offset``.
    """

    gates = (Gate("a", bias=False),)
    units = ("offset",)
    constrained = ("skew",)
    formula = "H*I + H*(H - 1)//2 + H"

    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        return {"h": modrelu(g.a, p.offset)}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        size = hidden_size
        return {"weight_ih": (size, input_size), "skew": (size * (size - 1) // 2,), "offset": (size,)}

    @abstractmethod
    def mapping(self, hidden_size: int) -> SkewMap:
        """What makes a skew-symmetric matrix the orthogonal W ``[H, H]``."""

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        size = len(parameters["offset"])
        matrix = composed(self.mapping(size), parameters["skew"], size)
        units = {"offset": parameters["offset"]}
        return Weights(parameters["weight_ih"], (), None, None, units, {"weight_hh": matrix})


class ExpRNNOptions(Options):
    init: Literal["henaff", "cayley"] = "henaff"


class ExpRNN(SkewCell[ExpRNNOptions]):
    """expRNN: Lezcano-Casado and Martínez-Rubio (2019), arXiv 1901.08428, as their code does it.

    W = exp(A - A^T)                                matrix exponential of a skew-symmetric matrix
    h_t = modReLU(W h_{t-1} + V x_t)                modReLU(a) = sign(a) relu(|a| + b)

    Shapes: V ``[H, I]``, the part of A above its diagonal ``[H (H - 1) / 2]`` (``skew``), b ``[H]`` (``offset``);
    H I + H (H - 1) / 2 + H parameters. W is composed once per forward call.

    Differs from `ScoRNN` in the map: exp reaches every rotation and no reflection, and needs no matrix D; from `URNN`
    in being real and dense. Initialisation: ``henaff``, A - A^T block diagonal with rotation angles U(-pi, pi), or
    ``cayley``, -tan(t/2), t ~ U(0, pi/2) (the authors' for pixel MNIST); V ~ N(0, 2/I); b ~ U(-0.01, 0.01);
    initial state zero. The authors train ``skew`` with a tenth of the learning rate: ``optimizer.constrained_lr``.
    """

    def mapping(self, hidden_size: int) -> SkewMap:
        return Exponential()

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        inputs = parameters["weight_ih"]
        inputs.normal_(0, math.sqrt(2 / inputs.shape[1]), generator=generator)
        if self.options.init == "henaff":
            angles = torch.empty(hidden_size // 2).uniform_(-math.pi, math.pi, generator=generator)
        else:
            angles = cayley_angles(hidden_size // 2, generator)
        rotations(parameters["skew"], hidden_size, angles)
        parameters["offset"].uniform_(-0.01, 0.01, generator=generator)


class ScoRNNOptions(Options):
    negative_ones: int | None = Field(default=None, ge=0)


class ScoRNN(SkewCell[ScoRNNOptions]):
    """scoRNN: Helfrich, Willmott and Ye (2018), arXiv 1707.09520: the scaled Cayley transform.

    W = (I + A)^{-1} (I - A) D                      A skew-symmetric, D diagonal with entries 1 and -1
    h_t = modReLU(W h_{t-1} + V x_t)                modReLU(a) = sign(a) relu(|a| + b)

    Shapes: V ``[H, I]``, the part of A above its diagonal ``[H (H - 1) / 2]`` (``skew``), b ``[H]`` (``offset``);
    H I + H (H - 1) / 2 + H parameters. W is composed once per forward call. D is fixed: 1, then ``negative_ones``
    times -1 (H // 2 if not given; the authors: 95 of 190 on copy memory, 85 of 170 on adding, 17 of 170 on MNIST).

    Differs from `ExpRNN` in the map: without D the Cayley transform misses every matrix with eigenvalue -1.
    Initialisation as in the authors' code: A block diagonal with -tan(t/2), t ~ U(0, pi/2); V ~ U(-0.01, 0.01); b = 0
    (modReLU is then the identity); initial state zero. They train A with RMSprop at a tenth of the learning rate:
    ``optimizer.constrained_lr``.
    """

    def mapping(self, hidden_size: int) -> SkewMap:
        return Cayley(self.negative_ones(hidden_size))

    def negative_ones(self, hidden_size: int) -> int:
        """Entries of D that are -1."""
        given = self.options.negative_ones
        return hidden_size // 2 if given is None else int(given)

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        if self.negative_ones(hidden_size) > hidden_size:
            raise UserError(f"negative_ones: {self.options.negative_ones} of only {hidden_size} units")
        return super().shapes(input_size, hidden_size)

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        parameters["weight_ih"].uniform_(-0.01, 0.01, generator=generator)
        rotations(parameters["skew"], hidden_size, cayley_angles(hidden_size // 2, generator))
        parameters["offset"].zero_()
