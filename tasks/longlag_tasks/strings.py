"""String tasks of the Chomsky hierarchy: read a string, then write another one that follows from it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from math import comb
from typing import ClassVar

import numpy as np

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyTask
from longlag_tasks._classes import certain
from longlag_tasks._draws import integers
from longlag_tasks._lengths import (
    CROSS_ENTROPY,
    SCALED,
    LengthOptions,
    OneAnswer,
    drawn_lengths,
    entropy,
    labelled,
    logits_of,
    ragged,
    scaled,
)
from longlag_tasks._recall import rows

END = 2
"""Of a stack that is written down: behind its bottom."""
MOVES, BITS = np.array([1, 1, -1, 1, 1]), np.array([0, 1, 0, 0, 1])
"""By symbol of a stack and what to do with it: how its height changes; the bit that is put there."""
DRAWN = np.array([0, 1, 0, 1, 0, 1, 2, 2, 3, 3, 4, 4])
"""The symbol for each of six equally likely draws: first those of a bit, then those of an action."""


def alike(options: LengthOptions) -> bool:
    """Whether all sequences have one length."""
    return len(options.lengths) == 1


def picked(values: Array, places: Array) -> Array:
    """From ``values [N, B]`` those at ``places [M, B]`` of the first axis, in each column; ``[M, 1]`` for all alike."""
    columns = values.shape[1]
    found: Array = values.ravel().take(places * columns + np.arange(columns))
    return found


class Rewriting(AccuracyTask[LengthOptions]):
    """Read L symbols, then write as many as the task says, one at each blank.

    Inputs: L symbols, then blanks, one for each symbol of the answer. Only the blanks count, and of a stack only those
    up to its end. Deletang et al. (2023); L is what ``length`` and ``least`` speak of.

    Shapes: inputs and targets int64 ``[T, B]``, T = L and the answer. The loss is the cross-entropy in nats over the
    answers' symbols.

    Attributes:
        symbols: what is read, besides the blank, as a person reads it.
        classes: symbols of the answer.
        answer: ``a, b``: the answer has ``a L + b`` symbols.
    """

    metrics = (
        CROSS_ENTROPY,
        Metric("accuracy", "max", "share", "of a sequence's answer that is right, mean over the sequences", best=1.0),
        SCALED,
        Metric("sequence_accuracy", "max", "share", "sequences whose answer is right to the last symbol", best=1.0),
    )
    symbols: ClassVar[str] = "01"
    classes: ClassVar[int] = 2
    answer: ClassVar[tuple[int, int]] = (1, 0)

    @abstractmethod
    def order(self, places: Array, lengths: Array) -> Array:
        """Which of the L symbols, from 0, stands at these places of the answer; broadcast ``[N, B]``."""

    def read(self, rng: np.random.Generator, lengths: Array) -> Array:
        """Strings ``[L, B]``, uniform and independent symbols."""
        return rng.integers(0, len(self.symbols), (lengths.max(), len(lengths)))

    def rewrite(self, strings: Array, lengths: Array) -> tuple[Array, Array | None]:
        """The answers ``[N, B]``, and how many symbols of each count, None for all; behind them stands anything."""
        places = np.arange(self._size(int(lengths.max())))[:, None]
        chosen = np.clip(self.order(places, lengths), 0, len(strings) - 1)
        return picked(strings, chosen), None

    def law(self, length: int) -> tuple[Array, Array]:
        """By place of the answer: chances of each symbol ``[N, C]``, and of its being there at all ``[N]``."""
        size = self._size(length)
        return np.full((size, self.classes), 1 / self.classes), np.ones(size)

    @abstractmethod
    def solve(self, string: list[int]) -> list[int]:
        """The answer to one string."""

    def _size(self, length: int) -> int:
        return self.answer[0] * length + self.answer[1]

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(len(self.symbols) + 1), self.classes, MappingKind.LABELLING, "cross-entropy")

    def lengths(self, batch: Batch) -> Array:
        """L, the symbols that are read."""
        steps = super().lengths(batch)
        lengths: Array = (steps - self.answer[1]) // (self.answer[0] + 1)
        return lengths

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lengths = drawn_lengths(rng, self.options, size)
        strings = self.read(rng, lengths)
        answers, sizes = self.rewrite(strings, lengths)
        longest = len(strings)
        steps = longest + len(answers)
        inputs, targets = np.full((steps, size), len(self.symbols)), np.zeros((steps, size), dtype=np.int64)
        if alike(self.options):
            inputs[:longest] = strings
            counted = np.zeros(inputs.shape, dtype=bool)
            counted[longest:] = True if sizes is None else np.arange(len(answers))[:, None] < sizes
            np.copyto(targets[longest:], answers, where=counted[longest:])
            return Batch(inputs, targets, counted=counted)
        place, every = np.arange(steps)[:, None] - lengths, self.answer[0] * lengths + self.answer[1]
        inputs[:longest] = np.where(place[:longest] < 0, strings, len(self.symbols))
        inputs *= place < every
        counted = (place >= 0) & (place < (every if sizes is None else sizes))
        targets = picked(answers, np.clip(place, 0, len(answers) - 1)) * counted
        return ragged(inputs, targets, lengths + every, counted)

    @cached_property
    def _laws(self) -> dict[int, tuple[Array, Array]]:
        return {length: self.law(length) for length in self.options.lengths}

    def baseline(self) -> Baseline:
        nats = sum(float((entropy(law) * there).sum()) for law, there in self._laws.values())
        counted = sum(float(there.sum()) for _, there in self._laws.values())
        return Baseline(
            nats / counted,
            "no memory: each symbol as likely as it is at this place of the answer",
            "mean over the places of the entropy of the symbol there, exactly",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self.classes), dtype=np.float32)
        lengths = self.lengths(batch)
        for length in np.unique(lengths):
            size, alike = self._size(int(length)), lengths == length
            logits[length : length + size, alike] = logits_of(self._laws[int(length)][0])[:, None]
        return logits

    def oracle(self, batch: Batch) -> Array:
        classes = np.zeros(batch.inputs.shape, dtype=np.int64)
        for column, length in enumerate(self.lengths(batch)):
            answer = self.solve(batch.inputs[:length, column].tolist())
            classes[length : length + len(answer), column] = answer
        return certain(classes, self.classes)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        likelihood, right = labelled(outputs, batch)
        assert batch.counted is not None
        accuracy = float(self.right(outputs, batch).mean())
        return {
            "cross_entropy": float(-likelihood[batch.counted].mean()),
            "accuracy": accuracy,
            "scaled_accuracy": scaled(accuracy, self.classes),
            "sequence_accuracy": float((right | ~batch.counted).all(0).mean()),
        }

    def right(self, outputs: Array, batch: Batch) -> Array:
        assert batch.counted is not None
        right = (outputs.argmax(-1) == batch.targets) & batch.counted
        share: Array = right.sum(0) / batch.counted.sum(0)
        return share

    def describe(self, batch: Batch, index: int) -> str:
        """The string and its answer."""
        assert batch.counted is not None
        read = [self.symbols[symbol] for symbol in batch.inputs[: self.lengths(batch)[index], index]]
        answer = [str(symbol) for symbol in batch.targets[batch.counted[:, index], index]]
        return "\n".join([*rows("reads", read), *rows("writes", answer)])


class ReverseString(Rewriting):
    """Read bits, write them in reverse.

    What was read last comes first: a stack. Deletang et al. (2023).
    """

    def order(self, places: Array, lengths: Array) -> Array:
        return lengths - 1 - places

    def solve(self, string: list[int]) -> list[int]:
        return string[::-1]


class DuplicateString(Rewriting):
    """Read bits, write them twice.

    What was read first comes first: a queue. Deletang et al. (2023).
    """

    answer = (2, 0)

    def order(self, places: Array, lengths: Array) -> Array:
        return places % lengths

    def solve(self, string: list[int]) -> list[int]:
        return string + string


class OddsFirst(Rewriting):
    """Read bits, write every other one, then the rest: the 2nd, 4th ..., then the 1st, 3rd ...

    So does the code of Deletang et al. (2023); their paper says that the odd ones come first.
    """

    def order(self, places: Array, lengths: Array) -> Array:
        half = lengths // 2
        return np.where(places < half, 2 * places + 1, 2 * (places - half))

    def solve(self, string: list[int]) -> list[int]:
        return string[1::2] + string[::2]


class BucketSort(Rewriting):
    """Read symbols of five kinds, write them sorted.

    Five counters solve it. The place of the answer alone says much: the middle of the sorted string is a 2, so that
    ``scaled_accuracy``, against a chance of 1/5, flatters. Deletang et al. (2023).
    """

    symbols = "01234"
    classes = 5

    def order(self, places: Array, lengths: Array) -> Array:
        return places

    def rewrite(self, strings: Array, lengths: Array) -> tuple[Array, Array | None]:
        exists = np.arange(len(strings))[:, None] < lengths
        return np.sort(np.where(exists, strings, len(self.symbols)), axis=0) % len(self.symbols), None

    def law(self, length: int) -> tuple[Array, Array]:
        below = np.zeros((length, 6))  # chances that the i-th smallest is below v
        for value in range(1, 6):
            p = value / 5
            exactly = np.array([comb(length, j) * p**j * (1 - p) ** (length - j) for j in range(length + 1)])
            below[:, value] = exactly[:0:-1].cumsum()[::-1]
        return np.diff(below, axis=1).clip(0, 1), np.ones(length)

    def solve(self, string: list[int]) -> list[int]:
        return sorted(string)


class StackManipulation(Rewriting):
    """Read a stack and what to do with it, write what is left, the top first.

    First come 1 ... L - 1 bits, their number uniform: the stack, bottom first. Then actions, uniform: take the top
    away (``-``; nothing happens where there is none), put a 0 on it (``o``), or a 1 (``i``). The answer is the stack
    from its top, then an end symbol, 2. There are L + 1 blanks, of which those behind the end do not count. Deletang
    et al. (2023).
    """

    version = 2
    symbols = "01-oi"
    classes = 3
    answer = (1, 1)

    def order(self, places: Array, lengths: Array) -> Array:
        return places

    def read(self, rng: np.random.Generator, lengths: Array) -> Array:
        steps, size = int(lengths.max()), len(lengths)
        bits = 1 + integers(rng, np.maximum(lengths - 1, 1), size)
        draws = integers(rng, 6, (steps, size))
        draws += 6 * (np.arange(steps)[:, None] >= bits)
        return DRAWN.take(draws)

    def rewrite(self, strings: Array, lengths: Array) -> tuple[Array, Array | None]:
        """Heights are a walk that is held at 0; what was put on stays if no later height is lower."""
        moves = MOVES.take(strings)
        if not alike(self.options):
            moves *= np.arange(len(strings))[:, None] < lengths
        free = moves.cumsum(0)
        heights = free - np.minimum(np.minimum.accumulate(free, axis=0), 0)
        final = heights[-1]
        stays = (moves == 1) & (np.minimum.accumulate(heights[::-1], axis=0)[::-1] >= heights)
        answers = np.full((len(strings) + 1, len(lengths)), END)
        kept = np.flatnonzero(stays)
        depth = (final - heights).ravel().take(kept)
        answers.ravel()[depth * len(lengths) + kept % len(lengths)] = BITS.take(strings.ravel().take(kept))
        return answers, final + 1

    def law(self, length: int) -> tuple[Array, Array]:
        """The law of the final height, step by step; bits on the stack are uniform."""
        law = np.zeros(length + 2)
        for step in range(1, length + 1):
            after = np.zeros_like(law)
            after[1:] += law[:-1] * 2 / 3
            after[:-1] += law[1:] / 3
            after[0] += law[0] / 3
            law = after
            if step < max(length, 2):
                law[step] += 1 / max(length - 1, 1)
        heights = law[: length + 1]
        there = heights[::-1].cumsum()[::-1]
        ends = heights / np.where(there > 0, there, 1)
        return np.stack([(1 - ends) / 2, (1 - ends) / 2, ends], axis=1), there

    def solve(self, string: list[int]) -> list[int]:
        stack: list[int] = []
        for symbol in string:
            if symbol != 2:
                stack.append({0: 0, 1: 1, 3: 0, 4: 1}[symbol])
            elif stack:
                stack.pop()
        return [*stack[::-1], END]


class MissingDuplicate(OneAnswer):
    """A string of bits twice, one place of which is hidden; after the last symbol, which bit is it?

    ``w w`` with ``w`` uniform, a uniform place of it replaced by ``_``; an odd length has a ``.`` behind it. What was
    read at the hidden place half a sequence earlier or later is the answer. Deletang et al. (2023).
    """

    sizes = (4, 2)
    names = "01_."

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        if alike(self.options):
            return self.make_alike(rng, self.options.length, len(lengths))
        half, columns = np.maximum(lengths // 2, 1), np.arange(len(lengths))
        word, hidden = rng.integers(0, 2, (half.max(), len(lengths))), rng.integers(0, 2 * half)
        inputs = picked(word, np.arange(lengths.max())[:, None] % half)
        targets = word[hidden % half, columns] * (lengths > 1)
        inputs[np.minimum(hidden, lengths - 1), columns] = 2
        odd = np.flatnonzero(lengths % 2)
        inputs[lengths[odd] - 1, odd] = 3
        return inputs, targets

    def make_alike(self, rng: np.random.Generator, length: int, size: int) -> tuple[Array, Array]:
        """The same, number by number, of `size` sequences of one length, in fewer steps."""
        half = max(length // 2, 1)
        inputs = np.full((max(length, 2 * half), size), 3)
        inputs[:half] = inputs[half : 2 * half] = rng.integers(0, 2, (half, size))
        hidden = rng.integers(0, 2 * half, size) * size + np.arange(size)
        symbols = inputs.ravel()
        targets = symbols.take(hidden)
        symbols[hidden] = 2
        return (inputs, targets) if length > 1 else (np.full((1, size), 3), np.zeros(size, dtype=np.int64))

    def law(self, length: int) -> Array:
        return np.array([1.0, 0.0]) if length == 1 else np.array([0.5, 0.5])

    def solve(self, inputs: Array, lengths: Array) -> Array:
        answers = []
        for column, length in zip(inputs.T.tolist(), lengths.tolist(), strict=True):
            half = length // 2
            one, other = column[:half], column[half : 2 * half]
            answers.append(next((a + b - 2 for a, b in zip(one, other, strict=True) if 2 in (a, b)), 0))
        return np.array(answers)
