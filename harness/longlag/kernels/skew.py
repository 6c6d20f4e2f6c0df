"""Matrices composed from skew-symmetric ones: exponential, Cayley transform, damped.

Each map is written by torch's operations here, for any device and dtype. Where a kernel target has a faster version
(`longlag.kernels.maps`), that one runs. Both are differentiated by hand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from longlag.kernels.derived import Adjoint, Derived
from longlag.kernels.maps import Maps
from longlag.kernels.targets import maps_for

Pull = Callable[[Tensor], Tensor]
"""From the gradient ``[n, n]`` by a map's value to that by the entries above the diagonal ``[n (n - 1) / 2]``."""


def widened(tensor: Tensor) -> Tensor:
    """In float32 at least: half precision is too coarse to compose an orthogonal matrix in."""
    return tensor.float() if tensor.itemsize < 4 else tensor


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
    """A map of skew-symmetric matrices S = A - A^T and its derivative."""

    @abstractmethod
    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """f(S) ``[n, n]``, and what `adjoint` reads; S may be overwritten."""

    @abstractmethod
    def adjoint(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        """A matrix G with <gradient, df(S)[E]> = <G, E> for every skew-symmetric E; its symmetric part is ignored."""

    @abstractmethod
    def compiled(self, maps: Maps, above: Tensor, size: int) -> tuple[Tensor, Pull]:
        """f(S) from the entries of A above its diagonal, and the adjoint, by a target's maps."""

    def plain(self, above: Tensor, size: int) -> tuple[Tensor, Pull]:
        """The same by `value` and `adjoint`."""
        matrix, saved = self.value(skew(above, size))

        def adjoint(gradient: Tensor) -> Tensor:
            found = self.adjoint(saved, gradient)
            difference = torch.sub(found, found.T, out=found.new_empty(size, size))  # row by row, however `found` lies
            return difference.view(-1).index_select(0, places(size, found.device))

        return matrix, adjoint


def composed(mapping: SkewMap, above: Tensor, size: int) -> Derived:
    """map(A - A^T) ``[n, n]`` from the entries of A above its diagonal, in their dtype, in float32 at least between."""
    return Derived((above,), partial(compose, mapping, size))


def compose(mapping: SkewMap, size: int, above: Tensor) -> tuple[Tensor, Adjoint]:
    wide = widened(above)
    maps = maps_for(wide)
    if maps is None:
        matrix, adjoint = mapping.plain(wide, size)
    else:
        matrix, adjoint = mapping.compiled(maps, wide.contiguous(), size)
    if wide is above:
        return matrix, lambda gradient: (adjoint(gradient),)
    return matrix.to(above.dtype), lambda gradient: (adjoint(gradient.to(wide.dtype)).to(above.dtype),)


class Damped(SkewMap):
    """S - diffusion * 1."""

    def __init__(self, diffusion: float) -> None:
        self.diffusion = diffusion

    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        skewed.diagonal().sub_(self.diffusion)
        return skewed, ()

    def adjoint(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        return gradient

    def compiled(self, maps: Maps, above: Tensor, size: int) -> tuple[Tensor, Pull]:
        return maps.damped(above, size, self.diffusion), maps.damped_adjoint


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

    @staticmethod
    @lru_cache(maxsize=8)
    def limit(dtype: torch.dtype) -> float:
        """The norm of S up to which what the polynomial and its derivative leave out, norm^18 / 18!, is below half a
        unit in the last place of 1."""
        degree = Exponential.DEGREE
        return float((torch.finfo(dtype).eps / 2 * math.factorial(degree)) ** (1 / degree))

    def halvings(self, square: Tensor) -> int:
        """How often S is halved, for S S, until its norm is below the limit."""
        norm = math.sqrt(float(square.abs().sum(0).max())) if len(square) else 0.0
        limit = self.limit(square.dtype)
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

    def adjoint(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        powers, first, fifth, third, ninth, *squared = saved
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

    def compiled(self, maps: Maps, above: Tensor, size: int) -> tuple[Tensor, Pull]:
        scheme = self.scheme(above.dtype, above.device)
        matrix, saved, halvings = maps.exponential(above, size, scheme, self.limit(above.dtype))
        return matrix, partial(maps.exponential_adjoint, saved, halvings, scheme)


class Cayley(SkewMap):
    """(1 + S)^{-1} (1 - S) D, orthogonal, D diagonal with entries 1 and, at the end, `negative_ones` times -1."""

    FEW = 96
    """Units up to which elimination in C is faster than torch's way to LAPACK."""

    def __init__(self, negative_ones: int) -> None:
        self.negative_ones = negative_ones

    def value(self, skewed: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        # (1 + S)^{-1} (1 - S) = 2 (1 + S)^{-1} - 1: no entry of the inverse exceeds 1, so nothing is lost by the
        # difference, and its gradient is two products
        inverse: Tensor = torch.linalg.inv(skewed + identity(len(skewed), skewed.dtype, skewed.device))
        diagonal = signs(len(skewed), self.negative_ones, skewed.dtype, skewed.device)
        inverse += 0 * skewed.abs().sum()  # of infinite entries NaN, whatever the solver makes of them
        matrix = torch.mul(inverse, 2 * diagonal, out=torch.empty_like(skewed))
        matrix.diagonal().sub_(diagonal)
        return matrix, (inverse,)

    def adjoint(self, saved: tuple[Tensor, ...], gradient: Tensor) -> Tensor:
        (inverse,) = saved
        diagonal = signs(len(inverse), self.negative_ones, inverse.dtype, inverse.device)
        return inverse.T @ (gradient * (-2 * diagonal)) @ inverse.T

    def compiled(self, maps: Maps, above: Tensor, size: int) -> tuple[Tensor, Pull]:
        if size > self.FEW:
            return self.plain(above, size)
        matrix, inverse = maps.cayley(above, size, self.negative_ones)
        return matrix, partial(maps.cayley_adjoint, inverse, self.negative_ones)
