"""A telephone book: names with their numbers, and a name whose number is to be written down."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import log
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._recall import answer_scores, distinct, rows

DIGITS = 10
"""Of a number; the first is 6 to 9."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SYMBOLS = "0123456789" + LETTERS + ":\n"
COLON, NEWLINE = SYMBOLS.index(":"), SYMBOLS.index("\n")
FIRST = 6


class PhonebookOptions(AccuracyOptions):
    """Options of `Phonebook`."""

    lines: int = Field(5, ge=1, le=10_000, description="N, names with a number")
    letters: int = Field(3, ge=1, le=6, description="of a name")
    examples: int = Field(2, ge=0, description="lines of the book that come again before the name that is asked for")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved when so large a share of numbers is right")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.lines > len(LETTERS) ** self.letters:
            raise ValueError(
                f"{self.letters} letters give {len(LETTERS) ** self.letters} names, fewer than {self.lines}"
            )
        if self.examples >= self.lines:
            raise ValueError(f"examples should be fewer than the {self.lines} lines, one of which is asked for")
        return self


class Phonebook(AccuracyTask[PhonebookOptions]):
    """Read names with their numbers, then a name; write its number.

    A line is a name of a few letters, ``:``, ten digits and a new line. Names are distinct and uniform; a number's
    first digit is uniform on 6 ... 9, the others on 0 ... 9. After N lines two of them come again, as examples, then a
    third name and ``:``; there the number is asked for, digit by digit, each read back. Only these ten steps count.
    Jelassi et al. (2024), with real names.

    Shapes: inputs and targets int64 ``[T, B]``, T = (N + examples)(letters + 12) + letters + 10. The loss is the
    cross-entropy in nats over the digits.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the digits of the number that is asked for"),
        Metric("accuracy", "max", "share", "numbers with all ten digits right", best=1.0),
        Metric("digits_right", "max", "share", "digits that have the largest output", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(len(SYMBOLS)), 10, MappingKind.LABELLING, "cross-entropy")

    @cached_property
    def _names(self) -> Array:
        """Every name as symbols, ``[names, letters]``."""
        place = len(LETTERS) ** np.arange(self.options.letters - 1, -1, -1)
        numbers = np.arange(len(LETTERS) ** self.options.letters)[:, None]
        return 10 + numbers // place % len(LETTERS)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        count, letters, examples = self.options.lines, self.options.letters, self.options.examples
        columns = np.arange(size)
        chosen = distinct(rng, len(self._names), count, size)
        lines = np.empty((count + examples + 1, letters + DIGITS + 2, size), dtype=np.int64)
        lines[:count, :letters] = self._names[chosen].swapaxes(1, 2)
        lines[:, letters], lines[:, -1] = COLON, NEWLINE
        lines[:count, letters + 1 : -1] = rng.integers(0, 10, (count, DIGITS, size))
        lines[:count, letters + 1] = rng.integers(FIRST, 10, (count, size))
        asked = rng.permuted(distinct(rng, count, examples + 1, size), axis=0)
        lines[count:] = lines[asked, :, columns].swapaxes(1, 2)
        flat = lines.reshape(-1, size)
        inputs = flat[:-2]  # the last digit is not read back, nor is the line ended
        counted = np.zeros(inputs.shape, dtype=bool)
        counted[-DIGITS:] = True
        targets = np.zeros_like(inputs)
        targets[-DIGITS:] = flat[-DIGITS - 1 : -1]
        return Batch(inputs, targets, counted=counted)

    def baseline(self) -> Baseline:
        nats = (log(10 - FIRST) + (DIGITS - 1) * log(10)) / DIGITS
        return Baseline(nats, "no memory: every digit equally likely that may stand there", "(ln 4 + 9 ln 10) / 10")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, 10), dtype=np.float32)
        logits[-DIGITS, :, FIRST:] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        """By looking the name up in the text."""
        classes = np.zeros(batch.inputs.shape, dtype=np.int64)
        for column, symbols in enumerate(batch.inputs.T):
            text = "".join(SYMBOLS[symbol] for symbol in symbols)
            book = dict(line.split(":") for line in text.split("\n")[:-1])
            name = text.rpartition("\n")[2].partition(":")[0]
            classes[-DIGITS:, column] = [int(digit) for digit in book[name]]
        return certain(classes, 10)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        found = answer_scores(outputs, batch)
        right = (outputs[-DIGITS:].argmax(-1) == batch.targets[-DIGITS:]).all(0)
        return {
            "cross_entropy": found["cross_entropy"],
            "accuracy": float(right.mean()),
            "digits_right": found["accuracy"],
        }

    def describe(self, batch: Batch, index: int) -> str:
        """The book, what is asked, and the answer."""
        text = "".join(SYMBOLS[symbol] for symbol in batch.inputs[:, index])
        *lines, last = text.split("\n")
        answer = "".join(str(digit) for digit in batch.targets[-DIGITS:, index])
        return "\n".join([*rows("lines", lines), f"asks    {last.partition(':')[0]}:", f"answer  {answer}"])
