"""Recurrences that keep the norm: an orthogonal matrix composed from a skew-symmetric one, and modReLU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.cells.base import GatedCell, Options
from harness.kernels import Gate, Weights
from harness.registry import UserError


def widened(tensor: Tensor) -> Tensor:
    """In float32 at least: half precision is too coarse to compose an orthogonal matrix in."""
    return tensor.float() if torch.finfo(tensor.dtype).bits < 32 else tensor


@lru_cache(maxsize=64)
def places(size: int, device: torch.device) -> Tensor:
    """Where the entries above the diagonal of a matrix lie, row by row, in the flat matrix."""
    index = torch.triu_indices(size, size, 1, device=device)
    return index[0] * size + index[1]


def skew(above: Tensor, size: int) -> Tensor:
    """A - A^T ``[n, n]`` from the entries of A above its diagonal ``[n (n - 1) / 2]``, row by row."""
    flat = above.new_zeros(size * size).scatter(0, places(size, above.device), above)
    matrix = flat.view(size, size)
    return matrix - matrix.T


SERIES: dict[torch.dtype, tuple[int, float]] = {torch.float32: (12, 1.3), torch.float64: (16, 0.68)}
"""Degree of the Taylor polynomial, and the spectral norm up to which what it and its derivative leave out is below
half a unit in the last place of 1: norm ** degree / degree!."""


def exponential(skewed: Tensor) -> Tensor:
    """exp(S) ``[n, n]`` of a skew-symmetric matrix: a Taylor polynomial of S / 2^k, squared k times.

    As exact as ``torch.linalg.matrix_exp``, whose backward pass takes the exponential of a ``[2 n, 2 n]`` matrix: here
    it is two products for each of the forward pass. A skew-symmetric matrix is normal, so that ||S||_2 <=
    sqrt(||S S||_1), which needs fewer squarings than the usual ||S||_1. NaN and infinity come through.
    """
    degree, limit = SERIES[skewed.dtype]
    square = skewed @ skewed
    norm = math.sqrt(float(square.detach().abs().sum(0).max())) if len(skewed) else 0.0
    halvings = max(0, math.ceil(math.log2(norm / limit))) if 0 < norm < math.inf else 0
    one = torch.eye(len(skewed), dtype=skewed.dtype, device=skewed.device)
    first, second = skewed * 0.5**halvings, square * 0.25**halvings
    powers = torch.stack([one, first, second, first @ second]).flatten(1)
    fourth = second @ second
    # Paterson and Stockmeyer: a polynomial in S^4 whose coefficients are polynomials of degree 3 in S
    factors = skewed.new_tensor([1 / math.factorial(k) for k in range(degree)]).view(-1, 4)
    blocks = (factors @ powers).view(-1, *skewed.shape)
    result = blocks[-1] + fourth / math.factorial(degree)
    for block in blocks[:-1].flip(0):
        result = torch.addmm(block, fourth, result)
    for _ in range(halvings):
        result = result @ result
    return result


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


class SkewCell(GatedCell):
    """What `ExpRNN` and `ScoRNN` share: h_t = modReLU(W h_{t-1} + V x_t), W orthogonal, composed from ``skew``.

    modReLU(a) = sign(a) relu(|a| + b), unit by unit; b ``[H]`` is the parameter ``offset``.
    """

    gates = (Gate("a", bias=False),)
    units = ("offset",)
    constrained = ("skew",)
    formula = "H*I + H*(H - 1)//2 + H"

    def core(self, g: Any, s: Any, p: Any) -> Mapping[str, Tensor]:
        return {"h": torch.sign(g.a) * torch.relu(torch.abs(g.a) + p.offset)}

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        size = hidden_size
        return {"weight_ih": (size, input_size), "skew": (size * (size - 1) // 2,), "offset": (size,)}

    def matrix(self, skewed: Tensor) -> Tensor:
        """The orthogonal W ``[H, H]`` of a skew-symmetric matrix."""
        raise NotImplementedError

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        size = len(parameters["offset"])
        matrix = self.matrix(skew(widened(parameters["skew"]), size)).to(parameters["skew"].dtype)
        return Weights(parameters["weight_ih"], (matrix,), None, None, {"offset": parameters["offset"]})


class ExpRNNOptions(Options):
    init: Literal["henaff", "cayley"] = "henaff"


class ExpRNN(SkewCell):
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

    Options: ClassVar[type[Options]] = ExpRNNOptions

    def matrix(self, skewed: Tensor) -> Tensor:
        return exponential(skewed)

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


class ScoRNN(SkewCell):
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

    Options: ClassVar[type[Options]] = ScoRNNOptions

    def matrix(self, skewed: Tensor) -> Tensor:
        size = len(skewed)
        one = torch.eye(size, dtype=skewed.dtype, device=skewed.device)
        diagonal = torch.ones_like(skewed[0])
        diagonal[size - self.negative_ones(size) :] = -1
        # (I + A)^{-1} (I - A) = 2 (I + A)^{-1} - I; the gradient of an inverse is two products, that of a solution
        # another solution. No entry of the inverse exceeds 1, so nothing is lost by the difference.
        inverse: Tensor = torch.linalg.inv(one + skewed)
        return (2 * inverse - one) * diagonal

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
