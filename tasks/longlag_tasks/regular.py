"""Regular languages, one answer a sequence: parity, even pairs, cycle navigation, majority."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from longlag.task import Array
from longlag_tasks._lengths import LengthOptions, OneAnswer, last_of


class Parity(OneAnswer):
    """Bits; after the last, was the number of ones odd?

    Bits are uniform and independent, and the answer is their sum modulo 2: every bit counts, none alone says
    anything. Deletang et al. (2023); lengths drawn as in Beck et al. (2024) are the protocol x.
    """

    sizes = (2, 2)

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        bits = rng.integers(0, 2, (lengths.max(), len(lengths)))
        bits *= np.arange(len(bits))[:, None] < lengths
        return bits, bits.sum(0) % 2

    def law(self, length: int) -> Array:
        return np.array([0.5, 0.5])

    def solve(self, inputs: Array, lengths: Array) -> Array:
        odd: Array = np.bitwise_xor.reduce(inputs, axis=0)
        return odd


class EvenPairs(OneAnswer):
    """Bits; after the last, do the first and the last differ?

    Then, and only then, the number of neighbours that differ (``01`` or ``10``) is odd, hence the name. Bits are
    uniform and independent. Deletang et al. (2023).
    """

    sizes = (2, 2)

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        bits = rng.integers(0, 2, (lengths.max(), len(lengths)))
        return bits, bits[0] ^ last_of(bits, lengths)

    def law(self, length: int) -> Array:
        return np.array([1.0, 0.0]) if length == 1 else np.array([0.5, 0.5])

    def solve(self, inputs: Array, lengths: Array) -> Array:
        pairs = np.arange(1, len(inputs))[:, None] < lengths
        found: Array = ((inputs[1:] != inputs[:-1]) & pairs).sum(0) % 2
        return found


class CycleOptions(LengthOptions):
    """Options of `CycleNavigation`."""

    positions: int = Field(5, ge=2, le=1000, description="m, positions on the cycle")


class CycleNavigation(OneAnswer[CycleOptions]):
    """Steps on a cycle of m positions, each to stay, go on or go back; after the last, where is the walker?

    Steps are uniform and independent, the walk begins at 0. Symbols: 0 stays, 1 goes on, 2 goes back. Deletang et
    al. (2023), m = 5.
    """

    names = "·+-"

    @property
    def sizes(self) -> tuple[int, int]:
        return 3, self.options.positions

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        steps = rng.integers(0, 3, (lengths.max(), len(lengths)))
        steps *= np.arange(len(steps))[:, None] < lengths
        return steps, (steps - 3 * (steps >> 1)).sum(0) % self.options.positions

    def law(self, length: int) -> Array:
        count = self.options.positions
        angles = 2 * math.pi * np.arange(count) / count
        waves = ((1 + 2 * np.cos(angles)) / 3) ** length
        law: Array = np.maximum((waves * np.cos(angles * np.arange(count)[:, None])).sum(1) / count, 0)
        law /= law.sum()
        return law

    def solve(self, inputs: Array, lengths: Array) -> Array:
        found: Array = ((inputs == 1).sum(0) - (inputs == 2).sum(0)) % self.options.positions
        return found


class Majority(OneAnswer):
    """Bits; after the last, were more than half of them ones?

    Bits are uniform and independent; at an even length a draw counts as no.
    """

    sizes = (2, 2)

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        bits = rng.integers(0, 2, (lengths.max(), len(lengths)))
        bits *= np.arange(len(bits))[:, None] < lengths
        return bits, (2 * bits.sum(0) > lengths).astype(np.int64)

    def law(self, length: int) -> Array:
        draw = 0.0 if length % 2 else math.comb(length, length // 2) / 2**length
        return np.array([(1 + draw) / 2, (1 - draw) / 2])

    def solve(self, inputs: Array, lengths: Array) -> Array:
        exists = np.arange(len(inputs))[:, None] < lengths
        return np.asarray(np.where(exists, 2 * inputs - 1, 0).sum(0) > 0, dtype=np.int64)
