"""English-like text from a probabilistic grammar: the same characters on every machine, with a known entropy.

Only ``random.Random.random`` is used, whose numbers Python promises to keep. Every choice is uniform over what the
grammar offers at that point, and no two choices give the same text: -log2 of their probabilities is what the text
holds, and no model can need fewer bits on average.
"""

from __future__ import annotations

from functools import cache
from math import log2
from random import Random

NAMES = ("Ada", "Boris", "Clara", "Dmitri", "Edda", "Farid", "Greta", "Hugo", "Imre", "Jonas", "Kaya", "Lena")
NOUNS = (
    "baker", "captain", "dancer", "doctor", "farmer", "fisher", "gardener", "judge", "keeper", "miller", "painter",
    "pilot", "sailor", "singer", "teacher", "weaver",
)  # fmt: skip
ADJECTIVES = ("old", "young", "quiet", "tired", "clever", "hungry", "famous", "lonely", "gentle", "proud")
VERBS = (
    "admire", "answer", "avoid", "follow", "greet", "help", "invite", "know", "remember", "thank", "understand",
    "visit",
)  # fmt: skip
DEEDS = ("dance", "laugh", "listen", "shout", "sing", "sleep", "smile", "travel", "wait", "work")
PLACES = (
    "at the market", "by the river", "in the garden", "near the harbour", "on the bridge", "under the old oak",
    "behind the mill", "before the gate",
)  # fmt: skip
TIMES = ("In spring", "At noon", "On Sundays", "After the storm", "Every evening", "Long before dawn")

DEPTH = 2
"""Relative clauses inside one another, at most."""


class Author:
    """Writes; `bits` is what the choices so far were worth."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random
        self.bits = 0.0
        self.name = ""

    def below(self, count: int) -> int:
        self.bits += log2(count)
        return int(self.random() * count)

    def one(self, words: tuple[str, ...]) -> str:
        return words[self.below(len(words))]

    def chance(self, times: int, of: int) -> bool:
        """True with probability ``times / of``."""
        true = int(self.random() * of) < times
        self.bits -= log2((times if true else of - times) / of)
        return true

    def person(self, depth: int = 0) -> tuple[str, bool]:
        """A phrase with a noun, and whether it is many: the verb far behind it will have to agree."""
        many = self.chance(1, 2)
        words = ["the", *([self.one(ADJECTIVES)] if self.chance(1, 3) else []), self.one(NOUNS) + "s" * many]
        if depth < DEPTH and self.chance(1, 3):
            other, plural = self.person(depth + 1)
            words += ["that", other, agreed(self.one(VERBS), plural)]
        return " ".join(words), many

    def clause(self) -> str:
        subject, many = self.person()
        if self.chance(1, 2):
            words = [subject, agreed(self.one(DEEDS), many), self.one(PLACES)]
        else:
            words = [subject, agreed(self.one(VERBS), many), self.person()[0]]
        return " ".join(words)

    def sentence(self) -> str:
        """One sentence of a paragraph about a person."""
        kind = self.below(4)
        if kind == 0:
            return f"{self.one(TIMES)}, {self.clause()}."
        name = self.name = self.name or self.one(NAMES)  # drawn where it is first read
        if kind == 1:
            return f"{name} {agreed(self.one(DEEDS), False)} {self.one(PLACES)}."
        if kind == 2:
            return f'"{capital(self.clause())}," {name} says.'
        return f"{capital(self.clause())} ({name} {agreed(self.one(VERBS), False)} {self.person()[0]})."

    def paragraph(self) -> str:
        self.name, count = "", 3 + self.below(4)
        return " ".join(self.sentence() for _ in range(count)) + "\n"


def agreed(verb: str, many: bool) -> str:
    """The verb's form for one or for many."""
    return verb if many else verb + "s"


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


@cache
def prose(characters: int, seed: int) -> tuple[str, float]:
    """At least so many characters in whole paragraphs, cut to the number, and the grammar's bits per character."""
    author, written, size = Author(seed), [], 0
    while size < characters:
        written.append(author.paragraph())
        size += len(written[-1])
    return "".join(written)[:characters], author.bits / size
