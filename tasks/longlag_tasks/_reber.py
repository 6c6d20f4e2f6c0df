"""The embedded Reber grammar as a Markov chain, walked in blocks of eight symbols."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from longlag.task import Array

SYMBOLS = "BTPSXVE"
"""The symbols by their number."""

REBER: dict[int, dict[str, int]] = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
}
"""The inner grammar: from each state by which symbol to which; 7 is its end."""

START, FIRST, STOP = 0, 1, 18
"""States: before the outer B, before the first outer letter, before the outer E."""

INSIDE = {"T": 2, "P": 10}
"""Where the states of the inner grammar begin that remember a letter; the eighth is due to repeat it."""

LAST = tuple(begin + 7 for begin in INSIDE.values())
"""The states in which the last but one symbol is due."""

STEPS = 8
"""Symbols of a block: one random byte, a bit a symbol, decides them all."""


@dataclass(frozen=True)
class Grammar:
    """The chain, its states numbered as above.

    Args:
        chances: ``[states, 7]``, of the next symbol.
        after: ``[states, 7]``, the state that a symbol leads to; `START` where it may not follow.
        moves: ``[states, states]``, the chances of the next state.
        entropy: ``[states]``, of the next symbol, nats.
        text: ``[states * 256, 8]``, the symbols that a state and a random byte give.
        jump: ``[states * 256]``, 256 times the state that they lead to.
        ends: ``[states * 256]``, the place of the first outer E among those symbols, 8 where there is none.
    """

    chances: Array
    after: Array
    moves: Array
    entropy: Array
    text: Array
    jump: Array
    ends: Array

    def walk(self, rng: np.random.Generator, begin: int, size: int, length: int | None = None) -> tuple[Array, Array]:
        """Random symbols from the state `begin` on.

        Args:
            length: how many at least; None walks until every walk has met an outer E.

        Returns:
            the symbols ``[at least length, size]``, and where each walk first meets an outer E (with `length` None).
        """
        codes: list[Array] = []
        state, walking = np.full(size, 256 * begin), np.ones(size, dtype=bool)
        while len(codes) * STEPS < length if length is not None else walking.any():
            code = state + rng.integers(0, 256, size)
            if length is None:
                walking &= self.ends.take(code) == STEPS
            codes.append(code)
            state = self.jump.take(code)
        blocks = np.array(codes)
        symbols = np.ascontiguousarray(self.text[blocks].swapaxes(1, 2)).reshape(-1, size)
        if length is not None:
            return symbols, np.full(size, -1)
        ends = self.ends.take(blocks)
        first = (ends < STEPS).argmax(0)
        return symbols, STEPS * first + ends[first, np.arange(size)]

    def read(self, symbols: Array, begin: int) -> Array:
        """The states ``[T, B]`` that symbols ``[T, B]`` lead to, one after the other, from `begin`."""
        states, state = np.empty(symbols.shape, dtype=np.int64), np.full(symbols.shape[1], begin)
        for step, symbol in enumerate(symbols):
            state = states[step] = self.after[state, symbol]
        return states


@cache
def grammar(marked: bool) -> Grammar:
    """The grammar whose strings begin with B and end with E (`marked`), or lack both."""
    edges: dict[int, dict[str, int]] = {START: {"B": FIRST}, FIRST: dict(INSIDE), STOP: {"E": START}}
    for letter, begin in INSIDE.items():
        edges |= {begin + k: {symbol: begin + to for symbol, to in out.items()} for k, out in REBER.items()}
        edges[begin + 7] = {letter: STOP if marked else FIRST}
    count = len(edges)
    chances, moves = np.zeros((count, len(SYMBOLS))), np.zeros((count, count))
    after = np.full((count, len(SYMBOLS)), START)
    symbol, to = np.zeros((2, count, 2), dtype=np.int64)  # by a random bit; both alike where there is no choice
    for state, out in edges.items():
        for bit in (0, 1):
            name, target = list(out.items())[bit % len(out)]
            symbol[state, bit], to[state, bit] = SYMBOLS.index(name), target
            chances[state, symbol[state, bit]] += 0.5
            moves[state, target] += 0.5
            after[state, symbol[state, bit]] = target
    walker, byte = np.repeat(np.arange(count), 256), np.tile(np.arange(256), count)
    text, ends = np.empty((count * 256, STEPS), dtype=np.int64), np.full(count * 256, STEPS)
    for place in range(STEPS):
        choice = byte >> place & 1
        ends = np.where((walker == STOP) & (ends == STEPS), place, ends)
        text[:, place], walker = symbol[walker, choice], to[walker, choice]
    entropy = -(chances * np.log(np.where(chances > 0, chances, 1))).sum(1)
    return Grammar(chances, after, moves, entropy, text, 256 * walker, ends)
