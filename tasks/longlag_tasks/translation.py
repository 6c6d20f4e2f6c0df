"""Translation between two made-up languages: reordering, agreement at a distance, words with several translations."""

from __future__ import annotations

from functools import cache
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
        parts.append((pair[0][:, rows], pair[1][rows], pair[2][:, rows], pair[3][rows]))
        missing -= len(rows)
    inputs, lengths, targets, target_lengths = (np.concatenate(each, -1) for each in zip(*parts, strict=True))
    return Batch(inputs[: lengths.max()], targets[: target_lengths.max()], lengths, target_lengths=target_lengths)


def _hash(words: Array) -> Array:
    """A number ``[B]`` for each source ``[T, B]``."""
    mixed, high = np.zeros((2, words.shape[1]), dtype=np.uint64)
    factor, shift = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)
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


def _source(said: _Meanings) -> tuple[Array, Array]:
    """Sources ``[T, B]`` of fixed T, and lengths."""
    at, most = language.SOURCE_AT, len(said.verbs) - 1
    determiners = np.where(said.definite == 1, at["the"], np.where(said.plural == 1, at["some"], at["a"]))
    adjectives = at[language.ADJECTIVES[0]] + said.adjectives
    nouns = at[language.NOUNS[0]] + said.nouns + len(language.NOUNS) * said.plural
    verbs = at[language.VERBS[0]] + said.verbs
    sentence = _Sentence(len(said.adverbs))

    def phrase(number: int) -> None:
        sentence.add(determiners[number], said.inside[number])
        sentence.add(adjectives[number], said.described[number])
        sentence.add(nouns[number], said.inside[number])

    phrase(0)
    for clause in range(1, most + 1):
        sentence.add(at[language.THAT], said.inside[clause])
        sentence.add(verbs[clause], said.inside[clause])
        phrase(clause)
    sentence.add(verbs[0], said.inside[0])
    phrase(most + 1)
    sentence.add(at[language.ADVERBS[0]] + said.adverbs, said.timed)
    return sentence.packed()


def _target(said: _Meanings) -> tuple[Array, Array]:
    """Translations ``[U, B]`` of fixed U, and lengths."""
    most = len(said.verbs) - 1
    subjects, objects = [0, *range(most)], [most + 1, *range(1, most + 1)]  # of the clauses
    gender = language.GENDER.take(said.nouns)
    endings = 2 * gender + said.plural
    determiners = np.where(said.definite == 1, DEFINITE, INDEFINITE) + endings
    nouns = NOUN + 2 * said.nouns + said.plural
    adjectives = ADJECTIVE + 4 * said.adjectives + endings
    particles = PARTICLE + said.verbs - language.SEPARABLE.start
    separable = (said.verbs >= language.SEPARABLE.start) & (said.verbs < language.SEPARABLE.stop)
    separable &= said.inside[:-1]
    other = (said.verbs >= language.CHOOSY.start) & (gender.take(objects, 0) == 1)
    verbs = VERB + 4 * (said.verbs + len(language.CHOOSY) * other) + endings.take(subjects, 0)
    sentence = _Sentence(len(said.adverbs))

    def phrase(number: int) -> None:
        sentence.add(determiners[number], said.inside[number])
        sentence.add(nouns[number], said.inside[number])
        sentence.add(adjectives[number], said.described[number])

    sentence.add(ADVERB + said.adverbs, said.timed)
    phrase(0)
    for clause in range(1, most + 1):
        sentence.add(KE, said.inside[clause])
        sentence.add(particles[clause], separable[clause])
        phrase(clause)
    for clause in range(most, 0, -1):
        sentence.add(verbs[clause], said.inside[clause])
    sentence.add(particles[0], separable[0])
    phrase(most + 1)
    sentence.add(verbs[0], said.inside[0])
    sentence.add(END, said.inside[0])
    return sentence.packed()


class _Sentence:
    """Words slot by slot, some of which are not there in some sentences."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.words: list[Array] = []
        self.exists: list[Array] = []

    def add(self, words: Array | int, exists: Array) -> None:
        self.words.append(np.full(self.size, words) if isinstance(words, int) else words)
        self.exists.append(exists)

    def packed(self) -> tuple[Array, Array]:
        """The words that are there, in order: int64 ``[slots, B]``, zeros behind them, and lengths ``[B]``."""
        words, exists = np.array(self.words).T, np.array(self.exists).T
        slots = len(self.words)
        lengths = exists.sum(1)
        packed = np.zeros(words.shape, dtype=np.int64)
        packed[np.arange(slots) < lengths[:, None]] = words[exists]  # both in order: one sentence after the other
        return packed.T, lengths
