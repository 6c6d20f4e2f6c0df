"""Finite groups as tables of products, made from permutations; running products of many sequences at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

from longlag.task import Array

Permutation = tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """A group by the numbers of its elements; 0 is the identity.

    Args:
        elements: each as a permutation of points.
        products: int64 ``[|G| |G|]``, at ``a |G| + b`` the number of ``a b``: first a, then b.
        quotients: the same of ``a^-1 b``.
    """

    elements: tuple[Permutation, ...]
    products: Array
    quotients: Array

    @property
    def order(self) -> int:
        return len(self.elements)

    def moving(self, most: int) -> Array:
        """The elements that move at most so many points, the identity first."""
        moved = [sum(to != point for point, to in enumerate(element)) for element in self.elements]
        return np.flatnonzero(np.array(moved) <= most)

    def prefixes(self, elements: Array) -> Array:
        """Running products ``x_1 ... x_t`` over the first axis of ``[T, ...]``, without a loop over time.

        Hillis and Steele (1986): after the k-th round every place holds the product of the last ``2^k`` elements.
        """
        found, shift = elements.copy(), 1
        while shift < len(found):
            found[shift:] = self.products.take(found[:-shift] * self.order + found[shift:])
            shift *= 2
        return found

    def law(self, generators: Array, steps: int) -> Array:
        """Chances of each product of 1 ... `steps` uniform generators, ``[steps, |G|]``."""
        law = np.zeros((steps, self.order))
        now = np.zeros(self.order)
        now[0] = 1
        reached = self.products.reshape(self.order, self.order)[:, generators]
        for step in range(steps):
            now = np.bincount(reached.ravel(), np.repeat(now, len(generators)), self.order) / len(generators)
            law[step] = now
        return law


def even(element: Permutation) -> bool:
    """Whether a permutation has an even number of inversions."""
    return sum(a > b for i, a in enumerate(element) for b in element[i + 1 :]) % 2 == 0


def cyclic(order: int) -> list[Permutation]:
    """The rotations of so many points."""
    return [tuple((point + turn) % order for point in range(order)) for turn in range(order)]


def symmetric(points: int) -> list[Permutation]:
    return list(permutations(range(points)))


def alternating(points: int) -> list[Permutation]:
    return [element for element in symmetric(points) if even(element)]


def direct(one: Iterable[Permutation], other: Iterable[Permutation]) -> list[Permutation]:
    """The direct product: the points of `other` follow those of `one`."""
    return [(*a, *(len(a) + point for point in b)) for a, b in product(one, list(other))]


ELEMENTS = {
    "S3": lambda: symmetric(3),
    "S4": lambda: symmetric(4),
    "S5": lambda: symmetric(5),
    "A5": lambda: alternating(5),
    "Z60": lambda: cyclic(60),
    "A4xZ5": lambda: direct(alternating(4), cyclic(5)),
}


@cache
def group(name: str) -> Group:
    """A group by its name; all of these lists begin with the identity."""
    elements = ELEMENTS[name]()
    number = {element: index for index, element in enumerate(elements)}
    table = np.array([[number[tuple(b[point] for point in a)] for b in elements] for a in elements])
    quotients = table[np.argmax(table == 0, axis=1)]
    return Group(tuple(elements), table.ravel(), quotients.ravel())
