"""Recurrences that keep the norm: an orthogonal matrix composed from a skew-symmetric one, and modReLU."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

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


class SkewMap(ABC):
    """A map of skew-symmetric matrices and its derivative, both written out: few operations on small matrices."""

    @abstractmethod
    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """f(S) ``[n, n]``, and what `adjoint` wants to know of it; S may be overwritten."""

    @abstractmethod
    def adjoint(self, kept: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        """A matrix G with <gradient, df(S)[E]> = <G, E> for every skew-symmetric E; its symmetric part says nothing."""


class Composed(torch.autograd.Function):
    """``apply(above, size, map)`` -> map(A - A^T) from the entries of A above its diagonal, see `skew`."""

    @staticmethod
    def forward(ctx: Any, above: Tensor, size: int, mapping: SkewMap) -> Tensor:
        matrix, kept = mapping.value(skew(above, size))
        ctx.save_for_backward(*kept)
        ctx.size, ctx.mapping = size, mapping
        return matrix

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        found = ctx.mapping.adjoint(ctx.saved_tensors, gradient)
        both = torch.sub(found, found.T, out=found.new_empty(ctx.size, ctx.size))  # row by row, however `found` lies
        return both.view(-1).index_select(0, places(ctx.size, found.device)), None, None


def composed(mapping: SkewMap, above: Tensor, size: int) -> Tensor:
    """map(A - A^T) ``[n, n]``, differentiable once, in the dtype of `above` and computed in float32 at least."""
    matrix: Tensor = Composed.apply(widened(above), size, mapping)  # type: ignore[no-untyped-call]
    return matrix.to(above.dtype)


@lru_cache(maxsize=64)
def identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def signs(size: int, negative: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``[size]``: ones, and at the end so many -1."""
    result = torch.ones(size, dtype=dtype, device=device)
    result[size - negative :] = -1
    return result


class Exponential(SkewMap):
    """exp(S), orthogonal: the Taylor polynomial of degree 18 of S / 2^k, squared k times.

    Five products by the scheme of Bader, Blanes and Casas (2019), Mathematics 7(12), 1174, and the adjoint in eight: of
    the gradient by a power of S only the part counts that has the power's own symmetry. As exact as
    ``torch.linalg.matrix_exp``, whose backward pass takes the exponential of a ``[2 n, 2 n]`` matrix. A skew-symmetric
    matrix is normal, so that ||S||_2 <= sqrt(||S S||_1), which needs fewer squarings than the usual ||S||_1. NaN and
    infinity come through.
    """

    # B_j = sum_k SCHEME[j, k] P_k with P = 1, S, S^2, S^3, S^6;  V = B_0 B_4 + B_3;  exp(S) = B_1 + (B_2 + V) V
    SCHEME = (
        (0.0, -1.00365581030144618291e-01, -8.02924648241156932449e-03, -8.92138498045729985177e-04, 0.0),
        (0.0, 3.97849749499645077844e-01, 1.36783778460411720168e00, 4.98289622525382669416e-01,
         -6.37898194594723280150e-04),
        (-1.09676396052962061844e01, 1.68015813878906206114e00, 5.71779846478865511061e-02,
         -6.98210122488052056106e-03, 3.34975017086070470649e-05),
        (-9.04316832390810593223e-02, -6.76404519071381882256e-02, 6.75961301770459654925e-02,
         2.95552570429315521194e-02, -1.39180257516060693404e-05),
        (0.0, 0.0, -9.23364619367118555360e-02, -1.69364939002081722752e-02, -1.40086798182036094347e-05),
    )  # fmt: skip
    DEGREE = 18

    @staticmethod
    @lru_cache(maxsize=64)
    def scheme(dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.tensor(Exponential.SCHEME, dtype=dtype, device=device)

    def halvings(self, square: Tensor) -> int:
        """How often S is halved, for S S: until what the polynomial and its derivative leave out, norm^18 / 18!, is
        below half a unit in the last place of 1."""
        norm = math.sqrt(float(square.abs().sum(0).max())) if len(square) else 0.0
        limit = (torch.finfo(square.dtype).eps / 2 * math.factorial(self.DEGREE)) ** (1 / self.DEGREE)
        return max(0, math.ceil(math.log2(norm / limit))) if 0 < norm < math.inf else 0

    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        square = skewed @ skewed
        halvings = self.halvings(square)
        powers = skewed.new_empty(5, *skewed.shape)
        powers[0] = identity(len(skewed), skewed.dtype, skewed.device)
        torch.mul(skewed, 0.5**halvings, out=powers[1])
        torch.mul(square, 0.25**halvings, out=powers[2])
        torch.mm(powers[1], powers[2], out=powers[3])
        torch.mm(powers[3], powers[3], out=powers[4])
        sums = self.scheme(skewed.dtype, skewed.device) @ powers.view(5, -1)
        first, second, third, fourth, fifth = sums.view_as(powers).unbind()
        ninth = torch.addmm(fourth, first, fifth)
        third += ninth
        result = torch.addmm(second, third, ninth)
        squared = []
        for _ in range(halvings):
            squared.append(result)
            result = result @ result
        return result, (powers, first, fifth, third, ninth, *squared)

    def adjoint(self, kept: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        powers, first, fifth, third, ninth, *squared = kept
        for root in reversed(squared):  # of X X: X' G + G X'
            gradient = torch.mm(root.T, gradient).addmm_(gradient, root.T)
        by_sums = torch.empty_like(powers)
        by_first, by_second, by_third, by_fourth, by_fifth = by_sums.unbind()
        by_second.copy_(gradient)
        torch.mm(gradient, ninth.T, out=by_third)
        # of the ninth power, and with it of what is added there
        torch.addmm(by_third, third.T, gradient, out=by_fourth)
        torch.mm(by_fourth, fifth.T, out=by_first)
        torch.mm(first.T, by_fourth, out=by_fifth)
        by_powers = self.scheme(gradient.dtype, gradient.device).T @ by_sums.view(5, -1)
        _, by_skew, by_square, by_cube, by_sixth = by_powers.view_as(powers).unbind()
        _, skewed, square, cube, _ = powers.unbind()
        by_cube.addmm_(cube, by_sixth + by_sixth.T, alpha=-1)  # S^6 is symmetric, S^3 is not
        by_cube = by_cube - by_cube.T  # twice the part that counts
        by_skew.addmm_(by_cube, square, alpha=0.5)
        by_square.addmm_(skewed, by_cube, alpha=-0.5)
        by_skew.addmm_(skewed, by_square + by_square.T, alpha=-1)
        return by_skew * 0.5 ** len(squared)


class Cayley(SkewMap):
    """(1 + S)^{-1} (1 - S) D, orthogonal, D diagonal with entries 1 and, at the end, `negative_ones` times -1."""

    def __init__(self, negative_ones: int) -> None:
        self.negative_ones = negative_ones

    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        # (1 + S)^{-1} (1 - S) = 2 (1 + S)^{-1} - 1: no entry of the inverse exceeds 1, so nothing is lost by the
        # difference, and its gradient is two products
        inverse: Tensor = torch.linalg.inv(skewed + identity(len(skewed), skewed.dtype, skewed.device))
        diagonal = signs(len(skewed), self.negative_ones, skewed.dtype, skewed.device)
        matrix = torch.mul(inverse, 2 * diagonal, out=torch.empty_like(skewed))
        matrix.diagonal().sub_(diagonal)
        return matrix, (inverse,)

    def adjoint(self, kept: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        (inverse,) = kept
        diagonal = signs(len(inverse), self.negative_ones, inverse.dtype, inverse.device)
        return inverse.T @ (gradient * (-2 * diagonal)) @ inverse.T


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

    @abstractmethod
    def mapping(self, hidden_size: int) -> SkewMap:
        """What makes a skew-symmetric matrix the orthogonal W ``[H, H]``."""

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        size = len(parameters["offset"])
        matrix = composed(self.mapping(size), parameters["skew"], size)
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
