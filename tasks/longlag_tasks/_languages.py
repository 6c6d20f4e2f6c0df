"""A pair of small languages: words, the rules between them, and a plain translator to check the drawn pairs with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

NOUNS = [
    "dog",
    "cat",
    "bird",
    "horse",
    "farmer",
    "king",
    "queen",
    "child",
    "teacher",
    "nurse",
    "sailor",
    "guest",
    "thief",
    "baker",
    "judge",
    "twin",
]
PLURAL = {noun: {"child": "children", "thief": "thieves"}.get(noun, f"{noun}s") for noun in NOUNS}
ADJECTIVES = ["small", "tall", "young", "quiet", "clever", "hungry", "brave", "red"]
VERBS = [
    "saw",
    "heard",
    "helped",
    "followed",
    "chased",
    "found",
    "called",
    "met",
    "liked",
    "feared",
    "painted",
    "pushed",
]
ADVERBS = ["today", "yesterday", "often", "never"]
DETERMINERS = ("the", "a", "some")
THAT = "that"

GENDER = np.array([0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0])
"""Of the other language's nouns; nothing in the first language shows it."""

SEPARABLE = range(4, 8)
"""Verbs that come in two words: a particle before the object, the rest at the end of the clause."""

CHOOSY = range(8, 12)
"""Verbs with two translations: which one is right the object's gender says."""

ENDINGS = ("o", "oi", "a", "ai")
"""By gender and number: 2 gender + plural."""

ROOTS = ["".join(parts) for parts in itertools.product("ktpm", "aeiu", "rlns")]
NOUN_ROOTS, VERB_ROOTS = ROOTS[0:16], ROOTS[16:28]
OTHER_ROOTS, ADJECTIVE_ROOTS, PARTICLES = ROOTS[28:32], ROOTS[32:40], ROOTS[40:44]
OTHER_ADVERBS = ROOTS[44:48]
KE = "ke"

SOURCE = [*DETERMINERS, THAT, *NOUNS, *PLURAL.values(), *ADJECTIVES, *VERBS, *ADVERBS]
"""The first language's words by number."""

TARGET = [
    "∎",
    KE,
    *PARTICLES,
    *OTHER_ADVERBS,
    *(f"l{ending}" for ending in ENDINGS),
    *(f"un{ending}" for ending in ENDINGS),
    *(root + number for root in NOUN_ROOTS for number in ("", "en")),
    *(f"{root}-{ending}" for root in ADJECTIVE_ROOTS for ending in ENDINGS),
    *(f"{root}-{ending}" for root in (*VERB_ROOTS, *OTHER_ROOTS) for ending in ENDINGS),
]
"""The second language's words by number; 0 ends an answer."""

SOURCE_AT = {word: number for number, word in enumerate(SOURCE)}
TARGET_AT = {word: number for number, word in enumerate(TARGET)}


def translate(words: Sequence[str]) -> list[str]:
    """A sentence of the first language in the second, word by word: slow, and apart from how pairs are drawn."""
    rest = list(words)
    first = [OTHER_ADVERBS[ADVERBS.index(rest.pop())]] if rest[-1] in ADVERBS else []
    subject, agreement, _ = _noun_phrase(rest)
    return first + subject + _verb_phrase(rest, agreement)


def _noun_phrase(rest: list[str]) -> tuple[list[str], str, int]:
    """Read a noun phrase off the front: its translation, its ending and its gender."""
    determiner = rest.pop(0)
    adjective = rest.pop(0) if rest[0] in ADJECTIVES else None
    noun = rest.pop(0)
    plural = noun not in NOUNS
    index = list(PLURAL.values()).index(noun) if plural else NOUNS.index(noun)
    gender = int(GENDER[index])
    ending = ENDINGS[2 * gender + plural]
    words = [("l" if determiner == "the" else "un") + ending, NOUN_ROOTS[index] + ("en" if plural else "")]
    if adjective is not None:
        words.append(f"{ADJECTIVE_ROOTS[ADJECTIVES.index(adjective)]}-{ending}")
    if rest and rest[0] == THAT:
        rest.pop(0)
        words += [KE, *_verb_phrase(rest, ending)]
    return words, ending, gender


def _verb_phrase(rest: list[str], ending: str) -> list[str]:
    """Read a verb and its object off the front; the verb agrees with its subject's ending and goes to the end."""
    verb = VERBS.index(rest.pop(0))
    object_, _, gender = _noun_phrase(rest)
    particle = [PARTICLES[verb - SEPARABLE.start]] if verb in SEPARABLE else []
    other = verb in CHOOSY and gender == 1
    root = OTHER_ROOTS[verb - CHOOSY.start] if other else VERB_ROOTS[verb]
    return [*particle, *object_, f"{root}-{ending}"]
