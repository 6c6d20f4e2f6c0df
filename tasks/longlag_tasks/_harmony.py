"""Chorale-like music from a small grammar of harmony: the same notes on every machine.

Only ``random.Random.random`` is used, whose numbers Python promises to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

import numpy as np

from longlag.task import Array

LOWEST = 21
"""MIDI number of the lowest of the 88 keys, A0."""

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11)}
FOLLOWS = {
    0: (0, 1, 3, 3, 4, 5),  # I: anything
    1: (4, 4, 6),  # ii: to the dominant
    2: (3, 5),
    3: (0, 1, 4, 4),
    4: (0, 0, 0, 5),  # V: home, or the deceptive vi
    5: (1, 2, 3, 3),
    6: (0,),
}
"""Degrees of the scale (0 is the tonic) on which the next chord may stand, equally likely."""

CADENCES = {"full": (4, 0), "half": (3, 4)}
BEATS, STEPS = 8, 2
"""Chords of a phrase, and steps of a chord: eighth notes."""

RANGES = {"soprano": (60, 79), "alto": (55, 72), "tenor": (48, 67), "bass": (40, 58)}
START = (67, 62, 55, 48)
Chord = tuple[int, int, int, int]
"""MIDI numbers of soprano, alto, tenor, bass."""


class Composer:
    """Writes one chorale.

    Four voices, two to five phrases of eight chords, the last of each held; a phrase ends on a half or full cadence,
    the first and the last on a full one. Where there are three or more, the last phrase is the first again. The
    soprano moves by at most a fifth to a tone of the chord, the inner voices as little as they can; where the soprano
    goes on by a third, the note between may pass.
    """

    def __init__(self, random: Random) -> None:
        self.random = random.random
        self.tonic = self.below(12)
        self.scale = SCALES["major" if self.below(2) else "minor"]

    def below(self, count: int) -> int:
        return int(self.random() * count)

    def one(self, options: Sequence[int]) -> int:
        return options[self.below(len(options))]

    def tones(self, degree: int) -> tuple[int, ...]:
        """Pitch classes of the triad on a degree: root, third, fifth."""
        return tuple((self.tonic + self.scale[(degree + k) % 7]) % 12 for k in (0, 2, 4))

    def progression(self, cadence: str) -> list[int]:
        degrees = [0]
        while len(degrees) < BEATS - 2:
            degrees.append(self.one(FOLLOWS[degrees[-1]]))
        return [*degrees, *CADENCES[cadence]]

    def voiced(self, degree: int, before: Chord) -> Chord:
        """The chord in four voices, led from the one before."""
        tones = self.tones(degree)
        root = tones[0] if self.below(4) else tones[1]
        bass = nearest(among((root,), "bass"), before[3])
        near = [key for key in among(tones, "soprano") if abs(key - before[0]) <= 7]
        soprano = self.one(near)
        inner = [
            (alto, tenor)
            for alto in among(tones, "alto")
            if alto <= soprano
            for tenor in among(tones, "tenor")
            if bass <= tenor <= alto
        ]

        def effort(pair: tuple[int, int]) -> tuple[int, int, int]:
            missing = len(set(tones) - {key % 12 for key in (soprano, *pair, bass)})
            return 8 * missing + abs(pair[0] - before[1]) + abs(pair[1] - before[2]), pair[0], pair[1]

        return (soprano, *min(inner, key=effort), bass)

    def phrase(self, cadence: str, before: Chord) -> list[Chord]:
        """The steps of a phrase."""
        chords = []
        for degree in self.progression(cadence):
            before = self.voiced(degree, before)
            chords.append(before)
        steps = []
        for chord, following in zip(chords, [*chords[1:], chords[-1]], strict=True):
            steps += [chord, (self.passing(chord[0], following[0]), *chord[1:])]
        return [*steps, chords[-1], chords[-1]]

    def passing(self, key: int, following: int) -> int:
        """What the soprano sings in the second half of a chord."""
        if abs(following - key) not in (3, 4) or self.below(2):
            return key
        between = range(min(key, following) + 1, max(key, following))
        return next((k for k in between if (k - self.tonic) % 12 in self.scale), key)

    def chorale(self) -> list[Chord]:
        count = 2 + self.below(4)
        first = self.phrase("full", START)
        steps = list(first)
        for number in range(1, count):
            if number == count - 1 and count > 2:
                steps += first
            else:
                steps += self.phrase("full" if number == count - 1 or self.below(2) else "half", steps[-1])
        return steps


def among(tones: Sequence[int], voice: str) -> list[int]:
    """The keys of a voice's range that are of the given pitch classes."""
    low, high = RANGES[voice]
    return [key for key in range(low, high + 1) if key % 12 in tones]


def nearest(keys: Sequence[int], to: int) -> int:
    """The nearest key; of two, the lower."""
    return min(keys, key=lambda key: (abs(key - to), key))


@cache
def composed(count: int, seed: int) -> tuple[Array, ...]:
    """So many different chorales as piano rolls, uint8 ``[T, 88]``."""
    random = Random(seed)
    seen: dict[tuple[Chord, ...], Array] = {}
    while len(seen) < count:
        steps = tuple(Composer(random).chorale())
        if steps not in seen:
            roll = np.zeros((len(steps), 88), np.uint8)
            roll[np.arange(len(steps))[:, None], np.array(steps) - LOWEST] = 1
            seen[steps] = roll
    return tuple(seen.values())
