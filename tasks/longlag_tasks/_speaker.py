"""A synthetic speaker: a phonotactic grammar, durations, accents, and what its sounds are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from longlag.task import Array
from longlag_tasks._utterances import places

FRAME = 0.01
"""Seconds a frame stands for."""

SILENCE = 0
VOWELS = "ieaou"

# name, kind, F1 and F2 in Hz, voicing and noise in amplitude, the noise's centre in Hz, shortest and longest in frames
_PHONES = (
    ("i", "vowel", 280, 2250, 1.0, 0.0, 4000, 6, 14),
    ("e", "vowel", 450, 1950, 1.0, 0.0, 4000, 6, 14),
    ("a", "vowel", 750, 1300, 1.0, 0.0, 4000, 6, 14),
    ("o", "vowel", 480, 900, 1.0, 0.0, 4000, 6, 14),
    ("u", "vowel", 310, 700, 1.0, 0.0, 4000, 6, 14),
    ("p", "plosive", 400, 800, 0.0, 0.25, 900, 4, 8),
    ("t", "plosive", 400, 1800, 0.0, 0.4, 4500, 4, 8),
    ("k", "plosive", 400, 2200, 0.0, 0.4, 2200, 4, 8),
    ("b", "plosive", 300, 800, 0.15, 0.2, 900, 4, 7),
    ("d", "plosive", 300, 1800, 0.15, 0.3, 4500, 4, 7),
    ("g", "plosive", 300, 2200, 0.15, 0.3, 2200, 4, 7),
    ("f", "fricative", 400, 900, 0.0, 0.2, 6500, 5, 10),
    ("s", "fricative", 400, 1700, 0.0, 0.6, 5500, 5, 11),
    ("S", "fricative", 400, 2000, 0.0, 0.6, 3000, 5, 11),
    ("z", "fricative", 300, 1700, 0.25, 0.4, 5500, 4, 9),
    ("m", "nasal", 250, 950, 0.5, 0.0, 4000, 4, 8),
    ("n", "nasal", 250, 1600, 0.5, 0.0, 4000, 4, 8),
    ("l", "liquid", 360, 1050, 0.6, 0.0, 4000, 3, 7),
    ("r", "liquid", 420, 1350, 0.6, 0.0, 4000, 3, 7),
)  # fmt: skip
NAMES = ("·", *(phone[0] for phone in _PHONES))
"""Silence, then the phones: class k is ``NAMES[k]``."""

ONSETS = (
    "",
    *"ptkbdgfsSzmnlr",
    *["pl", "pr", "tr", "kl", "kr", "bl", "br", "dr", "gl", "gr", "fl", "fr", "sp", "st", "sk", "sm", "sn", "sl"],
)
CODAS = ("", "", "", "", "", *"mnlrsSftk")
PAUSES = 0.15
"""Chance of a pause after a syllable."""
SLOTS = 5
"""Of a syllable: two onset phones, vowel, coda, pause."""
TRACT, GAIN, TILT, RATE = 0.16, 0.3, 0.4, 0.2
"""How much speakers differ: natural logs of formants and rate, loudness and its slope over the bands, all uniform."""
LOCUS = (500.0, 1500.0)
"""Where formants rest in silence, Hz."""
HUMS = (700, 2400, 1100, 1650, 3200)
"""The upper resonance of each accent's hum, Hz."""
KINDS = ("silence", *(phone[1] for phone in _PHONES), *["hum"] * len(HUMS))
"""Of every sound: those of `NAMES`, then the hums."""


@dataclass(frozen=True)
class Plan:
    """What is said, slot by slot, ``[S, B]``; a slot that lasts no frames is empty.

    Args:
        phones: classes, `SILENCE` for a pause or the opening.
        sounds: what is heard: the phone, moved along by the accent if it is a vowel; from ``len(NAMES)`` on, the hum
            of each accent.
        frames: how long each lasts.
        opening: int64 ``[B]``, frames before the first phone.
        tract: ``[B]``, the natural log of the factor on all formants.
        loudness: ``[B, 2]``, gain and slope.
    """

    phones: Array
    sounds: Array
    frames: Array
    opening: Array
    tract: Array
    loudness: Array

    @cached_property
    def lengths(self) -> Array:
        """Frames of every utterance, ``[B]``."""
        return np.asarray(self.frames.sum(0))

    @cached_property
    def speakers(self) -> Array:
        """Whose frame it is, for the frames of one utterance after the other, ``[N]``."""
        return np.arange(len(self.lengths)).repeat(self.lengths)

    @cached_property
    def places(self) -> Array:
        """Where frames stand among those of one utterance after the other, ``[T, B]``; N behind an utterance's end."""
        return places(self.lengths)

    def apart(self, values: Array) -> Array:
        """From one utterance after the other, ``[N + 1, ...]``, to ``[T, B, ...]``; the last goes behind every end."""
        return values.take(self.places, 0)

    def labels(self) -> Array:
        """The class at every frame, ``[T, B]``; silence after the end."""
        return self.apart(np.append(self.phones.T.ravel().repeat(self.frames.T.ravel()), SILENCE))

    def spoken(self) -> tuple[Array, Array]:
        """The phones in order without silences, ``[U, B]`` padded with 0, and how many they are, ``[B]``."""
        return pack(self.phones, (self.frames > 0) & (self.phones != SILENCE))


def pack(values: Array, chosen: Array) -> tuple[Array, Array]:
    """The chosen values of every column moved to its top, ``[U, B]`` padded with 0, and how many, ``[B]``."""
    counts = chosen.sum(0)
    order = np.argsort(~chosen, axis=0, kind="stable")
    top = np.take_along_axis(np.where(chosen, values, 0), order, 0)[: max(int(counts.max()), 1)]
    return top.astype(np.int64), counts.astype(np.int64)


@cache
def tables() -> tuple[Array, Array, Array]:
    """Onsets ``[n, 2]`` and codas ``[n]`` as classes, -1 for none; and what sounds are, ``[20 + 5, 7]``."""
    index = {name: k for k, name in enumerate(NAMES)}
    onsets = np.array([[index[c] for c in onset] + [-1] * (2 - len(onset)) for onset in ONSETS])
    codas = np.array([index[c] if c else -1 for c in CODAS])
    silence = (*LOCUS, 0.0, 0.0, 4000, 6, 15)
    hums = [(280, upper, 0.8, 0.0, 4000, 8, 14) for upper in HUMS]
    return onsets, codas, np.array([silence, *(phone[2:] for phone in _PHONES), *hums], dtype=np.float32)


def plan(rng: np.random.Generator, size: int, fewest: int, most: int, accents: int = 0, pause: int = 0) -> Plan:
    """Draw what is said: `fewest` to `most` syllables each, uniform, by speakers of their own.

    A syllable is onset, vowel, coda, each drawn uniformly from its list; a coda is dropped where the next syllable
    begins with the same phone. Durations are uniform between a phone's bounds, times the speaker's rate.

    Args:
        rng: where all draws come from.
        size: utterances.
        fewest, most: syllables.
        accents: how many there are; each utterance opens with the hum of its accent. With accent a, vowel k (counted
            from 0) sounds as vowel ``k - a`` does. 0: no hum, and every vowel sounds as itself.
        pause: frames of silence after the hum.
    """
    opening = 2 if accents else 0
    phones = np.full((opening + most * SLOTS, size), SILENCE)
    _fill(phones[opening:].reshape(most, SLOTS, size), rng, fewest)
    exists = phones >= 0
    np.maximum(phones, SILENCE, out=phones)
    accent = rng.integers(0, max(accents, 1), size)
    sounds = _heard().take(phones + len(NAMES) * accent)
    if accents:
        sounds[0] = len(NAMES) + accent
    frames = _lasting(rng, sounds) * exists
    if accents:
        frames[1] = pause
    return Plan(
        phones,
        sounds,
        frames,
        frames[:opening].sum(0),
        rng.uniform(-TRACT, TRACT, size),
        rng.uniform(-1, 1, (size, 2)) * (GAIN, TILT),
    )


def _fill(slots: Array, rng: np.random.Generator, fewest: int) -> None:
    """Draw the phones of syllables, ``[most, SLOTS, B]``; -1 where a slot is empty."""
    onsets, codas, _ = tables()
    most, _, size = slots.shape
    slots[:, :2] = onsets.take(rng.integers(0, len(onsets), (most, size)), 0).swapaxes(1, 2)
    slots[:, 2] = rng.integers(1, 1 + len(VOWELS), (most, size))
    slots[:, 3] = codas.take(rng.integers(0, len(codas), (most, size)))
    np.copyto(slots[:-1, 3], -1, where=slots[:-1, 3] == slots[1:, 0])
    paused = rng.random((most - 1, size)) < PAUSES
    over = np.arange(most)[:, None] >= rng.integers(fewest, most + 1, size)
    slots[:-1, 4] = np.where(paused & ~over[1:], SILENCE, -1)
    slots[-1, 4] = -1
    np.copyto(slots, -1, where=over[:, None])


def _lasting(rng: np.random.Generator, sounds: Array) -> Array:
    """Draw how many frames each sound lasts, ``[S, B]``, at rates of speech drawn first."""
    rate = np.exp(rng.uniform(-RATE, RATE, sounds.shape[1]))
    shortest, more = _bounds()
    lasting = rng.random(sounds.shape)
    lasting *= more.take(sounds)
    lasting += shortest.take(sounds)
    lasting *= rate
    np.rint(lasting, out=lasting)
    return np.maximum(lasting, 2, out=lasting).astype(np.int64)


@cache
def _heard() -> Array:
    """The sound of every phone in every accent, flat ``[5 * 20]``."""
    heard = np.tile(np.arange(len(NAMES)), (len(VOWELS), 1))
    vowel = np.arange(len(VOWELS))
    heard[:, 1 : 1 + len(VOWELS)] = (vowel - vowel[:, None]) % len(VOWELS) + 1
    return heard.ravel()


@cache
def _bounds() -> tuple[Array, Array]:
    """Of every sound: frames of the shortest, and how many more the longest has."""
    shortest, longest = tables()[2][:, 5:].T.astype(np.float64)
    return shortest, longest - shortest
