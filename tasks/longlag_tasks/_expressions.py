"""Random arithmetic expressions over digits modulo 5, with and without brackets, many at once; and their values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from longlag.task import Array
from longlag_tasks._draws import integers

MODULUS = 5
OPERATIONS = "+-×"
SYMBOLS = "01234+-×()="
"""The symbols by their number."""

NUMBER = {symbol: number for number, symbol in enumerate(SYMBOLS)}
CODES = MODULUS * len(OPERATIONS)
"""Operation and operand together: so many codes."""
SIGNS, DIGITS = MODULUS + np.arange(CODES) // MODULUS, np.arange(CODES) % MODULUS
"""The two symbols of a code."""


@cache
def automaton() -> tuple[Array, Array]:
    """Where an expression without brackets stands after one more operation and operand, and what it is worth there.

    A state is the sum of the finished products and the product that is open, ``5 s + p``. Returns 15 times the next
    state at ``15 state + code``; the value of a state at ``15 state``.
    """
    table = np.empty((MODULUS, MODULUS, CODES), dtype=np.int64)
    for total in range(MODULUS):
        for open_product in range(MODULUS):
            joined = (total + open_product) % MODULUS
            for digit in range(MODULUS):
                after = [(joined, digit), (joined, -digit % MODULUS), (total, open_product * digit % MODULUS)]
                for operation, (s, p) in enumerate(after):
                    table[total, open_product, MODULUS * operation + digit] = MODULUS * s + p
    states = np.arange(MODULUS**2).repeat(CODES)
    return table.ravel() * CODES, (states // MODULUS + states) % MODULUS


def flat(rng: np.random.Generator, operands: Array, behind: int) -> tuple[Array, Array]:
    """Digits joined by ``+ - ×``, all uniform, ``×`` first: symbols ``[2 N - 1 + behind, B]`` and values ``[B]``.

    Args:
        rng: where they come from.
        operands: how many digits each expression has, ``[B]``, N at most; what stands behind an end is anything.
        behind: rows of zeros behind the longest.
    """
    most, size = int(operands.max()), len(operands)
    codes = integers(rng, CODES, (most, size))
    symbols = np.zeros((2 * most - 1 + behind, size), dtype=np.int64)
    symbols[: 2 * most - 1 : 2], symbols[1 : 2 * most - 1 : 2] = DIGITS[codes], SIGNS[codes[1:]]
    table, values = automaton()
    states = np.empty((most, size), dtype=np.int64)
    np.multiply(symbols[0], CODES, states[0])
    for place in range(1, most):
        code = codes[place]
        code += states[place - 1]
        states[place] = table[code]
    return symbols, values[states[operands - 1, np.arange(size)]]


@dataclass(frozen=True)
class Level:
    """The expressions of one depth of all trees.

    Args:
        column: the tree of each.
        start: its first step.
        length: its symbols.
        inner: which of them are ``(l ∘ r)``, by number; their left and right parts come in this order in the next
            level, first all left ones, then all right ones.
        operation: of those.
    """

    column: Array
    start: Array
    length: Array
    inner: Array
    operation: Array


def bracketed(rng: np.random.Generator, lengths: Array, operations: int) -> tuple[Array, Array]:
    """Expressions of given lengths in full brackets: symbols ``[N, B]`` and values ``[B]``.

    ``d`` of length 1, ``-d`` 2, ``(d)`` 3, ``(-d)`` 4; longer ones are ``(l ∘ r)``, the length of l uniform on
    ``1 ... n - 4``. The loop is over the depth of the trees.

    Args:
        rng: where they come from.
        lengths: symbols of each, ``[B]``, N at most; behind an end stand zeros.
        operations: how many of ``+ - ×`` there are.
    """
    symbols = np.zeros((int(lengths.max()), len(lengths)), dtype=np.int64)
    levels: list[Level] = []
    column, start, length = np.arange(len(lengths)), np.zeros(len(lengths), dtype=np.int64), lengths
    while len(column):
        inner = np.flatnonzero(length > 4)
        room = length[inner] - 4
        left = 1 + rng.integers(0, room) if len(inner) else room
        operation = rng.integers(0, operations, len(inner))
        levels.append(Level(column, start, length, inner, operation))
        at, where = start[inner], column[inner]
        symbols[at, where] = NUMBER["("]
        symbols[at + 1 + left, where] = MODULUS + operation
        symbols[at + length[inner] - 1, where] = NUMBER[")"]
        column = np.concatenate([where, where])
        start = np.concatenate([at + 1, at + 2 + left])
        length = np.concatenate([left, length[inner] - 3 - left])
    values = np.empty(0, dtype=np.int64)
    for level in reversed(levels):
        values = _values(rng, symbols, level, values)
    return symbols, values


def _values(rng: np.random.Generator, symbols: Array, level: Level, parts: Array) -> Array:
    """The values of one level from those of the next; the leaves get their digits here."""
    digits = rng.integers(0, MODULUS, len(level.column))
    leaf = level.length <= 4
    negative = leaf & (level.length % 2 == 0)
    wrapped = leaf & (level.length > 2)
    symbols[level.start[wrapped], level.column[wrapped]] = NUMBER["("]
    symbols[(level.start + level.length - 1)[wrapped], level.column[wrapped]] = NUMBER[")"]
    symbols[(level.start + wrapped)[negative], level.column[negative]] = NUMBER["-"]
    symbols[(level.start + wrapped + negative)[leaf], level.column[leaf]] = digits[leaf]
    values = np.where(negative, -digits, digits) % MODULUS
    left, right = parts.reshape(2, -1)
    choices = np.array([left + right, left - right, left * right])
    values[level.inner] = choices[level.operation, np.arange(len(left))] % MODULUS
    return values


def law_of_flat(operands: int) -> float:
    """By how much the answer 0 is more frequent than the others, in expressions without brackets.

    The answer of N operands is 0 with chance A_N for sure and uniform otherwise: only if every product holds a zero
    digit is the sum 0 whatever the rest. A_N = sum over the length j of the first product of w_j (1 - .8^(j-1)) times
    A_{N-j}, where a product of j digits that begins with × j - 1 times has w_j = (2/3) (1/3)^(j-1), and (1/3)^(N-1)
    for j = N; one digit alone is uniform.
    """
    found = [1.0]
    for count in range(1, operands + 1):
        terms = [
            (1 / 3) ** (j - 1) * (2 / 3 if j < count else 1) * (1 - 0.8 ** (j - 1)) * found[count - j]
            for j in range(2, count + 1)
        ]
        found.append(sum(terms))
    return found[operands]


@cache
def laws_of_bracketed(longest: int) -> tuple[float, ...]:
    """The same of expressions in full brackets with ``+ - ×``, by their length.

    A part's value is 0 with chance A, uniform otherwise. A sum or difference is uniform unless both parts are 0 for
    sure. A product of two uniform values is 0 with chance 1 - .8^2, and given that it is not, uniform over the rest:
    0 with chance .2 in excess. Together, the mean over the splits of ``2/3 A_l A_r + 1/3 (1 - .8 (1 - A_l)(1 - A_r))``.
    """
    found = [0.0] * 5
    for length in range(5, longest + 1):
        splits = [(found[left], found[length - 3 - left]) for left in range(1, length - 3)]
        each = [2 / 3 * a * b + (1 - 0.8 * (1 - a) * (1 - b)) / 3 for a, b in splits]
        found.append(sum(each) / len(each))
    return tuple(found)


def value(text: str) -> int:
    """The value of an expression as a reader computes it: brackets first, then ``×``, then ``+`` and ``-``."""
    rest = list(text)

    def total() -> int:
        found = term()
        while rest and rest[0] in "+-":
            found += term() if rest.pop(0) == "+" else -term()
        return found

    def term() -> int:
        found = factor()
        while rest and rest[0] == "×":
            rest.pop(0)
            found *= factor()
        return found

    def factor() -> int:
        symbol = rest.pop(0)
        if symbol == "(":
            found = total()
            rest.pop(0)
            return found
        return -factor() if symbol == "-" else int(symbol)

    return total() % MODULUS
