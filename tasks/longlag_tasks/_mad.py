"""The sequences of MAD's six tasks: how each is drawn, and its answers a second way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import ClassVar

import numpy as np

from longlag.task import Array
from longlag_tasks._recall import distinct

MOTIF = 3
"""Tokens of a fuzzy key or value at most."""

KEYS = 8
"""Fuzzy keys of a sequence."""

MAP_SEED = 12345
"""Of memorisation's one map, which is part of the task."""

Drawn = tuple[Array, Array, Array]
"""Inputs, answers (anything where none is asked for), and where an answer is asked for, ``[T, B]``."""


class Kind(ABC):
    """One of the six tasks.

    Args:
        length: T.
        vocabulary: V, classes of the answers.
        noise: of noisy recall.
        copied: of selective copying.

    Attributes:
        base: T and V of the paper.
    """

    base: ClassVar[tuple[int, int]] = (128, 16)

    def __init__(self, length: int, vocabulary: int, noise: float, copied: int) -> None:
        self.length, self.vocabulary, self.noise, self.copied = length, vocabulary, noise, copied
        self.check()

    def check(self) -> None:
        """Raises ValueError where the sizes do not fit together; by default all do."""
        return

    @property
    def symbols(self) -> int:
        """Tokens that are read."""
        return self.vocabulary

    @property
    @abstractmethod
    def answers(self) -> range:
        """The classes that an answer may be, each as likely as every other."""

    @property
    def named(self) -> dict[str, int]:
        """Tokens with a sign of their own, for a person."""
        return {}

    @abstractmethod
    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        """As many sequences."""

    @abstractmethod
    def solve(self, inputs: Array) -> Array:
        """The answers ``[T, B]`` from the inputs, anything where none is asked for."""


def pairs_of(inputs: Array, keys: int) -> Array:
    """At every key the value that followed the same key before, 0 where there was none: by reading along."""
    answers, columns = np.zeros_like(inputs), np.arange(inputs.shape[1])
    known = np.zeros((keys, inputs.shape[1]), dtype=np.int64)
    for step in range(0, len(inputs) - 1, 2):
        key = np.minimum(inputs[step], keys - 1)
        answers[step] = known[key, columns]
        real = inputs[step] < keys
        known[key[real], columns[real]] = inputs[step + 1][real]
    return answers


class InContextRecall(Kind):
    """Keys below V/2, values from there on."""

    @property
    def keys(self) -> int:
        return self.vocabulary // 2

    @property
    def answers(self) -> range:
        return range(self.keys, 2 * self.keys)

    def check(self) -> None:
        if self.length % 2 or self.length // 2 <= self.keys:
            raise ValueError(f"length should be even and above {2 * self.keys}, so that a key comes again")

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        pairs, columns = self.length // 2, np.arange(size)
        key = rng.integers(0, self.keys, (pairs, size))
        values = rng.integers(self.answers.start, self.answers.stop, (self.keys, size))
        inputs = np.empty((self.length, size), dtype=np.int64)
        inputs[::2], inputs[1::2] = key, values[key, columns]
        return inputs, np.concatenate([inputs[1:], inputs[:1]]), spread(again(key, self.keys))

    def solve(self, inputs: Array) -> Array:
        return pairs_of(inputs, self.keys)


def again(key: Array, keys: int) -> Array:
    """Whether each key, ``[P, B]``, came before; keys from `keys` on count for nothing."""
    first = np.full((keys + 1, key.shape[1]), len(key))
    place = np.broadcast_to(np.arange(len(key))[::-1, None], key.shape)
    first[np.minimum(key[::-1], keys), np.arange(key.shape[1])] = place  # the last one written is the first place
    found: Array = (np.arange(len(key))[:, None] > first[np.minimum(key, keys), np.arange(key.shape[1])]) & (key < keys)
    return found


def spread(asked: Array) -> Array:
    """From pairs ``[P, B]`` to steps ``[2 P, B]``: asked for at the key."""
    steps = np.zeros((2 * len(asked), asked.shape[1]), dtype=bool)
    steps[::2] = asked
    return steps


class NoisyRecall(InContextRecall):
    """A quarter of the tokens are keys, a quarter values, half are noise."""

    base = (128, 32)

    @property
    def keys(self) -> int:
        return self.vocabulary // 4

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        inputs, _, _ = super().draw(rng, size)
        noisy = rng.random((len(inputs) // 2, size)) < self.noise
        noisy[-2:] = False
        inputs[-2] = inputs[-4]  # one key at least comes again
        inputs[-1] = inputs[-3]
        tokens = rng.integers(2 * self.keys, self.vocabulary, inputs.shape)
        inputs = np.where(noisy.repeat(2, 0), tokens, inputs)
        return inputs, np.concatenate([inputs[1:], inputs[:1]]), spread(again(inputs[::2], self.keys))


class FuzzyRecall(Kind):
    """Token 0 pads, keys are made of the tokens below V/2, values of those from there on."""

    @property
    def answers(self) -> range:
        return range(self.vocabulary // 2, self.vocabulary)

    @property
    def named(self) -> dict[str, int]:
        return {"·": 0}

    def check(self) -> None:
        if self.length < 4 * MOTIF:
            raise ValueError(f"length should be at least {4 * MOTIF}, so that a key comes again")

    def motifs(self, rng: np.random.Generator, tokens: range, size: int) -> tuple[Array, Array]:
        """Motifs of one to three distinct tokens ``[3, 8, B]``, and their lengths ``[8, B]``."""
        drawn = distinct(rng, len(tokens), MOTIF, KEYS * size).reshape(MOTIF, KEYS, size) + tokens.start
        return rng.permuted(drawn, axis=0), rng.integers(1, MOTIF + 1, (KEYS, size))

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        key, key_size = self.motifs(rng, range(1, self.vocabulary // 2), size)
        value, value_size = self.motifs(rng, self.answers, size)
        digits = np.where(np.arange(MOTIF)[:, None, None] < key_size, key, 0)
        number = (digits * self.vocabulary ** np.arange(MOTIF)[:, None, None]).sum(0)  # one for each key
        own = (number[:, None] == number[None]).argmax(1)  # of keys that are the same, the first one's value counts
        count, columns = self.length // 2, np.arange(size)
        chosen = np.take_along_axis(own, rng.integers(0, KEYS, (count, size)), axis=0)
        chosen[-1] = chosen[-2]  # one key at least comes again
        sizes = key_size[chosen, columns], value_size[chosen, columns]
        start = self.length - (sizes[0] + sizes[1])[::-1].cumsum(0)[::-1]  # the last pair ends the sequence
        there = start >= 0
        seen = again(np.where(there, chosen, KEYS), KEYS)
        inputs, counted = np.zeros((self.length, size), dtype=np.int64), np.zeros((self.length, size), dtype=bool)
        for token in range(MOTIF):
            for motif, own_size, before, asked in ((key, sizes[0], 0, False), (value, sizes[1], sizes[0], True)):
                pair, column = np.nonzero(there & (token < own_size))
                at = (start + before + token)[pair, column]
                inputs[at, column] = motif[token, chosen[pair, column], column]
                if asked:
                    counted[at - 1, column] = seen[pair, column]
        return inputs, np.concatenate([inputs[1:], inputs[:1]]), counted

    def solve(self, inputs: Array) -> Array:
        """Sequence by sequence, as a reader does: keys and values are runs of their tokens."""
        answers = np.zeros_like(inputs)
        for column, tokens in enumerate(inputs.T.tolist()):
            known: dict[tuple[int, ...], list[int]] = {}
            key: tuple[int, ...] = ()
            value: list[int] = []
            for step, token in enumerate(tokens):
                if token in self.answers:
                    value.append(token)
                    known.setdefault(key, value)
                elif token:
                    key, value = ((token,) if value else (*key, token)), []
                expected = known.get(key, [])
                if len(value) < len(expected) and (token in self.answers or token):
                    answers[step, column] = expected[len(value)]
        return answers


class Memorisation(Kind):
    """Token 0 is the blank, V/2 - 1 keys follow, then V/2 values."""

    base = (32, 256)

    @property
    def answers(self) -> range:
        return range(self.vocabulary // 2, self.vocabulary)

    @property
    def named(self) -> dict[str, int]:
        return {"·": 0}

    def check(self) -> None:
        if self.length % 2 or self.vocabulary % 2:
            raise ValueError("length and vocabulary should be even")

    @cached_property
    def map(self) -> Array:
        """The value of each key; the same for every sequence and seed."""
        values = np.random.default_rng(MAP_SEED).permutation(len(self.answers)) + self.answers.start
        return np.concatenate([[0], values[:-1]])

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        key = rng.integers(1, self.vocabulary // 2, (self.length // 2, size))
        inputs, answers = np.zeros((2, self.length, size), dtype=np.int64)
        inputs[::2], answers[1::2] = key, self.map[key]
        return inputs, answers, np.broadcast_to(np.arange(self.length)[:, None] % 2 == 1, inputs.shape).copy()

    def solve(self, inputs: Array) -> Array:
        answers = np.zeros_like(inputs)
        answers[1::2] = self.map[inputs[::2]]
        return answers


class Compression(Kind):
    """Tokens 0 ... V - 2, the sign V - 1, and a token for each place that is asked for."""

    base = (32, 16)

    @property
    def symbols(self) -> int:
        return self.vocabulary + self.length - 1

    @property
    def answers(self) -> range:
        return range(self.vocabulary - 1)

    @property
    def named(self) -> dict[str, int]:
        return {"|": self.vocabulary - 1, **{f"{k}?": self.vocabulary + k for k in range(self.length - 1)}}

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        read = rng.integers(0, self.vocabulary - 1, (self.length - 1, size))
        places = np.broadcast_to(self.vocabulary + np.arange(self.length - 1)[:, None], read.shape)
        sign = np.full((1, size), self.vocabulary - 1)
        inputs = np.concatenate([read, sign, places])
        counted = np.zeros(inputs.shape, dtype=bool)
        counted[self.length :] = True
        return inputs, np.concatenate([read, sign, read]), counted

    def solve(self, inputs: Array) -> Array:
        places = np.maximum(inputs - self.vocabulary, 0)
        answers: Array = np.take_along_axis(inputs, places, axis=0)
        return np.minimum(answers, self.vocabulary - 1)


class SelectiveCopying(Kind):
    """Token 0 is the blank, V - 1 the sign."""

    base = (256, 16)

    @property
    def answers(self) -> range:
        return range(1, self.vocabulary - 1)

    @property
    def named(self) -> dict[str, int]:
        return {"·": 0, "|": self.vocabulary - 1}

    def check(self) -> None:
        if self.length < 2 * self.copied + 1:
            raise ValueError(f"length should be at least {2 * self.copied + 1}, to read and write {self.copied} tokens")

    def draw(self, rng: np.random.Generator, size: int) -> Drawn:
        read = self.length - self.copied - 1
        places = np.sort(distinct(rng, read, self.copied, size), axis=0)
        data = rng.integers(1, self.vocabulary - 1, (self.copied, size))
        inputs, answers = np.zeros((2, self.length, size), dtype=np.int64)
        inputs[places, np.arange(size)] = answers[read + 1 :] = data
        inputs[read] = self.vocabulary - 1
        counted = np.zeros(inputs.shape, dtype=bool)
        counted[read + 1 :] = True
        return inputs, answers, counted

    def solve(self, inputs: Array) -> Array:
        answers = np.zeros_like(inputs)
        for column, tokens in enumerate(inputs.T):
            data = tokens[(tokens > 0) & (tokens < self.vocabulary - 1)]
            answers[len(answers) - len(data) :, column] = data
        return answers


KINDS: dict[str, type[Kind]] = {
    "in-context-recall": InContextRecall,
    "noisy-recall": NoisyRecall,
    "fuzzy-recall": FuzzyRecall,
    "memorisation": Memorisation,
    "compression": Compression,
    "selective-copying": SelectiveCopying,
}
