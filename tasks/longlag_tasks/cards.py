"""Tasks with decks of cards, as supervised sequences: repeat previous, autoencode, count recall."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import comb, log
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Reals, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._lengths import entropy, logits_of
from longlag_tasks._recall import answer_scores, rows, words

CARDS = 52
SUITS = 4
SIGNS = "♠♥♦♣"

SCORES = (
    Metric("cross_entropy", "min", "nats", "mean over the answers"),
    Metric("accuracy", "max", "share", "answers that have the largest output", best=1.0),
)


def shuffled(rng: np.random.Generator, decks: int, kinds: int, size: int) -> Array:
    """So many decks of cards in random order, without replacement, by kind: int64 ``[52 decks, B]``."""
    cards = np.arange(CARDS * decks) % kinds
    return rng.permuted(np.broadcast_to(cards, (size, len(cards))), axis=1).T


class CardOptions(AccuracyOptions):
    """Options of tasks with decks of cards."""

    decks: int = Field(1, ge=1, le=1000, description="decks of 52 cards, shuffled together")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large an accuracy")


class RepeatPreviousOptions(CardOptions):
    """Options of `RepeatPrevious`."""

    lag: int = Field(4, ge=1, description="k: the first answer is due at step k, and asks for the suit k - 1 steps ago")

    @model_validator(mode="after")
    def _in_decks(self) -> Self:
        if self.lag > CARDS * self.decks:
            raise ValueError(f"lag should be at most {CARDS * self.decks}, the cards there are")
        return self


class RepeatPrevious(AccuracyTask[RepeatPreviousOptions]):
    """Cards one by one; at every step, which suit was shown k - 1 steps ago?

    The suits of d decks, shuffled together, are shown without replacement. Answers count from step k on, counted from
    1. All of the last k suits have to be kept at once, in order. Morad et al. (2023), POPGym, as a supervised task: k
    = 4, 32, 64 with 1, 2, 3 decks.

    Shapes: inputs and targets int64 ``[52 d, B]``, 4 classes. The loss is the cross-entropy in nats over the answers.
    """

    metrics = SCORES

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(SUITS), SUITS, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        inputs, back = shuffled(rng, self.options.decks, SUITS, size), self.options.lag - 1
        targets, counted = np.zeros_like(inputs), np.zeros(inputs.shape, dtype=bool)
        targets[back:], counted[back:] = inputs[: len(inputs) - back], True
        return Batch(inputs, targets, counted=counted)

    def baseline(self) -> Baseline:
        return Baseline(log(SUITS), "no memory: every suit equally likely", "ln 4")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.steps, batch.size, SUITS), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        return certain(np.roll(batch.inputs, self.options.lag - 1, axis=0), SUITS)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """The suits, and which is to be said at each."""
        said = ["·"] * (self.options.lag - 1) + [SIGNS[s] for s in batch.targets[self.options.lag - 1 :, index]]
        return "\n".join([*rows("shown", [SIGNS[s] for s in batch.inputs[:, index]]), *rows("says", said)])


class Autoencode(AccuracyTask[CardOptions]):
    """Cards one by one; then say all suits again, the last one first.

    The suits of d decks, shuffled together, then as many blanks, at which the suits are due in reverse. Morad et al.
    (2023), POPGym, as a supervised task: 1, 2, 3 decks.

    Shapes: inputs and targets int64 ``[104 d, B]``, 4 classes. The loss is the cross-entropy in nats over the blanks.
    """

    metrics = SCORES

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(SUITS + 1), SUITS, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        suits = shuffled(rng, self.options.decks, SUITS, size)
        counted = np.zeros((2 * len(suits), size), dtype=bool)
        counted[len(suits) :] = True
        inputs = np.concatenate([suits, np.full_like(suits, SUITS)])
        return Batch(inputs, np.concatenate([np.zeros_like(suits), suits[::-1]]), counted=counted)

    def baseline(self) -> Baseline:
        return Baseline(log(SUITS), "no memory: every suit equally likely", "ln 4")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.steps, batch.size, SUITS), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        """With a stack."""
        stack: list[Array] = []
        classes = np.zeros(batch.inputs.shape, dtype=np.int64)
        for step, suit in enumerate(batch.inputs):
            if step < len(classes) // 2:
                stack.append(suit)
            else:
                classes[step] = stack.pop()
        return certain(classes, SUITS)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """The suits, then what is to be said."""
        half, names = batch.steps // 2, dict(enumerate(SIGNS))
        shown, said = (words(values[:, index], {}) for values in (batch.inputs[:half], batch.targets[half:]))
        return "\n".join([*rows("shown", [names[int(s)] for s in shown]), *rows("says", [names[int(s)] for s in said])])


KINDS = {"colours": 2, "suits": 4, "ranks": 13}


class CountRecallOptions(CardOptions):
    """Options of `CountRecall`."""

    kinds: Literal["colours", "suits", "ranks"] = Field("colours", description="what is counted: 2, 4 or 13 kinds")


class CountRecall(AccuracyTask[CountRecallOptions]):
    """A card and a question at every step; how often was the kind in question shown, this card included?

    Cards of d decks, shuffled together, are shown without replacement, by their kind; the kind in question is uniform
    and independent. All counters have to be kept at once. Morad et al. (2023), POPGym, as a supervised task: colours
    with 1 deck, suits with 2, ranks with 4.

    Shapes: inputs float32 ``[52 d, B, 2 kinds]``, the card and the question, each one-hot; targets int64 ``[52 d,
    B]``, ``52 d / kinds + 1`` classes. The loss is the cross-entropy in nats over all steps.
    """

    metrics = SCORES

    @property
    def _kinds(self) -> int:
        return KINDS[self.options.kinds]

    @property
    def _most(self) -> int:
        """Cards of one kind."""
        return CARDS * self.options.decks // self._kinds

    @property
    def signature(self) -> Signature:
        return Signature(Reals(2 * self._kinds), self._most + 1, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        cards = shuffled(rng, self.options.decks, self._kinds, size)
        asked = rng.integers(0, self._kinds, cards.shape)
        targets = np.zeros_like(cards)
        for kind in range(self._kinds):
            targets += (cards == kind).cumsum(0) * (asked == kind)
        return Batch(self._one_hot.take(cards * self._kinds + asked, axis=0), targets)

    @cached_property
    def _one_hot(self) -> Array:
        """Card and question, each one-hot, at ``card kinds + question``."""
        each = np.eye(self._kinds, dtype=np.float32)
        return np.concatenate([each.repeat(self._kinds, 0), np.tile(each, (self._kinds, 1))], 1)

    @cached_property
    def _law(self) -> Array:
        """Chances of each count by step, ``[T, most + 1]``: hypergeometric."""
        cards, most = CARDS * self.options.decks, self._most
        ways = [
            [comb(most, n) * comb(cards - most, t - n) / comb(cards, t) if n <= t else 0.0 for n in range(most + 1)]
            for t in range(1, cards + 1)
        ]
        return np.array(ways)

    def baseline(self) -> Baseline:
        return Baseline(
            float(entropy(self._law).mean()),
            "no memory: each count as likely as it is at this step",
            "mean over the steps t of the entropy of a hypergeometric count, t cards of 52 d",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.maximum(logits_of(self._law), -CERTAIN)[:, None]
        return np.broadcast_to(logits, (batch.steps, batch.size, self._most + 1)).copy()

    def oracle(self, batch: Batch) -> Array:
        """With a counter for each kind."""
        counters = np.zeros((batch.size, self._kinds), dtype=np.int64)
        classes = np.zeros(batch.inputs.shape[:2], dtype=np.int64)
        for step, inputs in enumerate(batch.inputs):
            counters[np.arange(batch.size), inputs[:, : self._kinds].argmax(1)] += 1
            classes[step] = counters[np.arange(batch.size), inputs[:, self._kinds :].argmax(1)]
        return certain(classes, self._most + 1)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        every = Batch(batch.inputs, batch.targets, counted=np.ones(batch.targets.shape, dtype=bool))
        return answer_scores(outputs, every)

    def describe(self, batch: Batch, index: int) -> str:
        """Each card, the kind in question and the count, as ``card:question=count``."""
        kinds = self._kinds
        cards, asked = (part.argmax(-1) for part in (batch.inputs[:, index, :kinds], batch.inputs[:, index, kinds:]))
        steps = zip(cards, asked, batch.targets[:, index], strict=True)
        return "\n".join(rows("steps", [f"{card}:{question}={count}" for card, question, count in steps]))
