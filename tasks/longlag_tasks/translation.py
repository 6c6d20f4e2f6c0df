"""Translation between two made-up languages: reordering, agreement at a distance, words with several translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import accumulate
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Signature, Tokens
from longlag_tasks import _languages as language
from longlag_tasks._accuracy import AccuracyOptions
from longlag_tasks._classes import certain
from longlag_tasks._pairs import Coded, Corpus, PairTask
from longlag_tasks._scores import END

MOST_CLAUSES = 4
LONGEST = 1 + 3 * (MOST_CLAUSES + 2) + MOST_CLAUSES + 2 * (MOST_CLAUSES + 1) + 1
"""Words of the longest translation, its end included."""

BUCKETS = 20
"""Sentences fall into so many buckets by a hash of their words: one is for validation, one for the test."""

COUNTED = 50_000
"""Sentences that the words' shares for the trivial predictor are counted on."""

DEFINITE, INDEFINITE = (language.TARGET_AT[f"{root}{language.ENDINGS[0]}"] for root in ("l", "un"))
NOUN = language.TARGET_AT[language.NOUN_ROOTS[0]]
ADJECTIVE = language.TARGET_AT[f"{language.ADJECTIVE_ROOTS[0]}-{language.ENDINGS[0]}"]
VERB = language.TARGET_AT[f"{language.VERB_ROOTS[0]}-{language.ENDINGS[0]}"]
KE, PARTICLE = language.TARGET_AT[language.KE], language.TARGET_AT[language.PARTICLES[0]]
ADVERB = language.TARGET_AT[language.OTHER_ADVERBS[0]]


class TranslationOptions(AccuracyOptions):
    """Options of `Translation`."""

    clauses: int = Field(1, ge=0, le=MOST_CLAUSES, description="the most relative clauses of a sentence's subject")
    least_clauses: int = Field(0, ge=0, le=MOST_CLAUSES, description="the fewest; for a test on longer sentences")
    adjectives: float = Field(0.5, ge=0, le=1, description="share of the nouns that have an adjective")
    solved_accuracy: float = Field(
        0.95, gt=0, le=1, description="solved when so large a share of the validation sentences is right throughout"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.least_clauses > self.clauses:
            raise ValueError(f"least_clauses ({self.least_clauses}) is above clauses ({self.clauses})")
        return self


class Translation(PairTask[TranslationOptions]):
    """``the old cat that saw some dogs called the king today`` to the same in a language with its verbs last.

    A sentence is a subject, a verb, an object and, every other time, an adverb. The subject has n relative clauses,
    one inside the other (``the cat that saw some dogs that ...``), n uniform on `least_clauses` ... `clauses`. A noun
    phrase is a determiner, perhaps an adjective, and one of 16 nouns in singular or plural. Everything is uniform.
    In the translation

    * the adverb comes first, adjectives follow their noun, verbs end their clause: those of nested clauses come in
      reverse order;
    * determiners, adjectives and verbs agree in gender and number: verbs with a subject that may stand far ahead. A
      noun's gender shows nowhere in the source;
    * one word has several translations: determiners by gender and number, four of the twelve verbs by the gender of
      their object, which comes later;
    * one word becomes two: four verbs have a particle before their object.

    Validation and test sentences are never drawn in training: a hash of the source's words sets a twentieth of all
    sentences apart for each.

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[U, B]``, the last symbol the end. The loss is the cross-entropy
    in nats a word.
    """

    @property
    def signature(self) -> Signature:
        return Signature(
            Tokens(len(language.SOURCE)),
            len(language.TARGET),
            MappingKind.TRANSLATION,
            "cross-entropy",
            end=END,
            max_steps=LONGEST,
        )

    @property
    def corpus(self) -> Corpus:
        return counted(self.options)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        return _drawn(self.options, rng, size, range(2, BUCKETS))

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        bucket = ("validation", "test").index(name)
        return _drawn(self.options, rng, size, range(bucket, bucket + 1))

    def baseline(self) -> Baseline:
        found = super().baseline()
        return Baseline(found.value, found.predictor, f"{found.formula}, counted on {COUNTED} sentences")

    def oracle(self, batch: Batch) -> Array:
        assert batch.lengths is not None
        classes = np.zeros(batch.targets.shape, dtype=np.int64)
        for b, length in enumerate(batch.lengths):
            words = language.translate([language.SOURCE[word] for word in batch.inputs[:length, b]])
            classes[: len(words), b] = [language.TARGET_AT[word] for word in words]
        return certain(classes, len(language.TARGET))


@cache
def counted(options: TranslationOptions) -> Corpus:
    """Many training sentences, for the shares of the words."""
    batch = _drawn(options, np.random.default_rng(0), COUNTED, range(2, BUCKETS))
    assert batch.lengths is not None and batch.target_lengths is not None
    return Corpus(
        Coded(batch.inputs.T, batch.lengths, tuple(language.SOURCE)),
        Coded(batch.targets.T, batch.target_lengths, tuple(language.TARGET)),
        {"training": np.arange(COUNTED)},
    )


def _drawn(options: TranslationOptions, rng: np.random.Generator, size: int, buckets: range) -> Batch:
    """Pairs whose source falls into one of the buckets."""
    parts: list[tuple[Array, Array, Array, Array]] = []
    missing = size
    while missing > 0:
        said = _meanings(options, rng, 8 + missing * BUCKETS // len(buckets))
        pair = (*_source(said), *_target(said))
        bucket = _hash(pair[0]) % BUCKETS
        rows = np.flatnonzero((bucket >= buckets.start) & (bucket < buckets.stop))[:missing]
        parts.append((pair[0].take(rows, 1), pair[1].take(rows), pair[2].take(rows, 1), pair[3].take(rows)))
        missing -= len(rows)
    joined = parts[0] if len(parts) == 1 else [np.concatenate(each, -1) for each in zip(*parts, strict=True)]
    inputs, lengths, targets, target_lengths = joined
    return Batch(inputs[: lengths.max()], targets[: target_lengths.max()], lengths, target_lengths=target_lengths)


def _hash(words: Array) -> Array:
    """A number ``[B]`` for each source ``[T, B]``."""
    mixed, high = np.zeros((2, words.shape[1]), dtype=np.uint64)
    # as arrays: NumPy takes twice as long with numbers
    factor, shift = np.array(0x9E3779B97F4A7C15, dtype=np.uint64), np.array(29, dtype=np.uint64)
    for row in words.astype(np.uint64):
        mixed ^= row
        mixed *= factor
        np.right_shift(mixed, shift, high)
        mixed ^= high
    return mixed


class _Meanings(NamedTuple):
    """What sentences say: words as places among those of their kind, and which of them there are.

    Args:
        nouns: of the phrases, ``[clauses + 2, B]``: the subject, the object of each relative clause, the object.
        plural, definite: 0 or 1, likewise.
        adjectives: likewise.
        inside, described: whether there is the phrase, and whether its adjective.
        verbs: ``[clauses + 1, B]``: the main one, and that of each relative clause; there where its object is.
        adverbs: ``[B]``.
        timed: whether there is the adverb.
    """

    nouns: Array
    plural: Array
    definite: Array
    adjectives: Array
    inside: Array
    described: Array
    verbs: Array
    adverbs: Array
    timed: Array


def _meanings(options: TranslationOptions, rng: np.random.Generator, size: int) -> _Meanings:
    most = options.clauses
    depth = rng.integers(options.least_clauses, most + 1, size)
    nouns = rng.integers(0, len(language.NOUNS), (most + 2, size))
    plural, definite = rng.integers(0, 2, (2, most + 2, size))
    adjectives = rng.integers(0, len(language.ADJECTIVES), (most + 2, size))
    described = rng.random((most + 2, size)) < options.adjectives
    verbs = rng.integers(0, len(language.VERBS), (most + 1, size))
    adverbs, timed = rng.integers(0, len(language.ADVERBS), size), rng.integers(0, 2, size, dtype=bool)
    inside = depth >= np.arange(most + 2)[:, None]
    inside[-1] = True
    return _Meanings(nouns, plural, definite, adjectives, inside, described & inside, verbs, adverbs, timed)


Slot = tuple[str, int, str, int]
"""A kind of word and its number, and what says whether it is there and its number."""


def _phrase(number: int, *kinds: str) -> list[Slot]:
    """The slots of a noun phrase, in the order of the language."""
    return [(kind, number, "described" if kind == "adjective" else "inside", number) for kind in kinds]


def _source_slots(most: int) -> list[Slot]:
    kinds = ("determiner", "adjective", "noun")
    slots = _phrase(0, *kinds)
    for clause in range(1, most + 1):
        slots += [("that", 0, "inside", clause), ("verb", clause, "inside", clause), *_phrase(clause, *kinds)]
    return [*slots, ("verb", 0, "inside", 0), *_phrase(most + 1, *kinds), ("adverb", 0, "timed", 0)]


def _target_slots(most: int) -> list[Slot]:
    kinds = ("determiner", "noun", "adjective")
    slots = [("adverb", 0, "timed", 0), *_phrase(0, *kinds)]
    for clause in range(1, most + 1):
        slots += [("that", 0, "inside", clause), ("particle", clause, "separable", clause), *_phrase(clause, *kinds)]
    slots += [("verb", clause, "inside", clause) for clause in range(most, 0, -1)]
    slots += [("particle", 0, "separable", 0), *_phrase(most + 1, *kinds)]
    return [*slots, ("verb", 0, "inside", 0), ("end", 0, "inside", 0)]


def _source(said: _Meanings) -> tuple[Array, Array]:
    """Sources ``[T, B]`` of fixed T, and lengths."""
    at, size = language.SOURCE_AT, len(said.adverbs)
    words = {
        "determiner": np.where(said.definite == 1, at["the"], np.where(said.plural == 1, at["some"], at["a"])),
        "adjective": at[language.ADJECTIVES[0]] + said.adjectives,
        "noun": at[language.NOUNS[0]] + said.nouns + len(language.NOUNS) * said.plural,
        "verb": at[language.VERBS[0]] + said.verbs,
        "adverb": at[language.ADVERBS[0]] + said.adverbs[None],
        "that": np.full((1, size), at[language.THAT]),
    }
    exists = {"inside": said.inside, "described": said.described, "timed": said.timed[None]}
    return _packed(_source_slots, words, exists)


def _target(said: _Meanings) -> tuple[Array, Array]:
    """Translations ``[U, B]`` of fixed U, and lengths."""
    most, size = len(said.verbs) - 1, len(said.adverbs)
    subjects, objects = [0, *range(most)], [most + 1, *range(1, most + 1)]  # of the clauses
    gender = language.GENDER.take(said.nouns)
    endings = 2 * gender + said.plural
    separable = (said.verbs >= language.SEPARABLE.start) & (said.verbs < language.SEPARABLE.stop)
    separable &= said.inside[:-1]
    other = (said.verbs >= language.CHOOSY.start) & (gender.take(objects, 0) == 1)
    words = {
        "determiner": np.where(said.definite == 1, DEFINITE, INDEFINITE) + endings,
        "noun": NOUN + 2 * said.nouns + said.plural,
        "adjective": ADJECTIVE + 4 * said.adjectives + endings,
        "particle": PARTICLE + said.verbs - language.SEPARABLE.start,
        "verb": VERB + 4 * (said.verbs + len(language.CHOOSY) * other) + endings.take(subjects, 0),
        "adverb": ADVERB + said.adverbs[None],
        "that": np.full((1, size), KE),
        "end": np.full((1, size), END),
    }
    exists = {
        "inside": said.inside, "described": said.described, "timed": said.timed[None], "separable": separable
    }  # fmt: skip
    return _packed(_target_slots, words, exists)


def _packed(
    slots: Callable[[int], list[Slot]], words: Mapping[str, Array], exists: Mapping[str, Array]
) -> tuple[Array, Array]:
    """The words that are there, in order: int64 ``[slots, B]``, zeros behind them, and lengths ``[B]``.

    Args:
        slots: the order, by the most relative clauses.
        words: of each kind, ``[n, B]``.
        exists: whether they are there, likewise.
    """
    order = _rows(slots, len(words["verb"]) - 1, tuple(words), tuple(exists))
    there = np.concatenate([*exists.values()]).take(order[1], 0)
    lengths = there.sum(0)
    front = np.arange(len(there)) < lengths[:, None]
    packed = np.zeros(front.shape, dtype=np.int64)
    # both in order: one sentence after the other
    packed[front] = np.concatenate([*words.values()]).take(order[0], 0).T[there.T]
    return packed.T, lengths


@cache
def _rows(
    slots: Callable[[int], list[Slot]], most: int, words: tuple[str, ...], exists: tuple[str, ...]
) -> tuple[Array, Array]:
    """Where each slot's word, and whether it is there, stand among all kinds one after the other."""
    count = {"verb": most + 1, "particle": most + 1, "separable": most + 1}
    count |= dict.fromkeys(("determiner", "adjective", "noun", "inside", "described"), most + 2)

    def first(kinds: tuple[str, ...]) -> dict[str, int]:
        sizes = [count.get(kind, 1) for kind in kinds]
        return dict(zip(kinds, accumulate(sizes, initial=0), strict=False))

    word, there = first(words), first(exists)
    return (
        np.array([word[kind] + number for kind, number, _, _ in slots(most)]),
        np.array([there[kind] + number for _, _, kind, number in slots(most)]),
    )
