"""A synthetic speaker: a phonotactic grammar, durations, accents, and what its sounds are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.task import Array

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

    @property
    def lengths(self) -> Array:
        total: Array = self.frames.sum(0)
        return total

    @property
    def cells(self) -> Array:
        """Where the frames of one utterance after the other lie in a flat ``[T, B]``, ``[N]``."""
        lengths = self.lengths
        size, ends = len(lengths), lengths.cumsum()
        step = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        cells: Array = step * size + np.repeat(np.arange(size), lengths)
        return cells

    def labels(self) -> Array:
        """The class at every frame, ``[T, B]``; silence after the end."""
        labels = np.full((int(self.lengths.max()), len(self.lengths)), SILENCE)
        labels.ravel()[self.cells] = np.repeat(self.phones.T.ravel(), self.frames.T.ravel())
        return labels

    def spoken(self) -> tuple[Array, Array]:
        """The phones in order without silences, ``[U, B]`` padded with 0, and how many they are, ``[B]``."""
        return pack(self.phones, (self.frames > 0) & (self.phones != SILENCE))


def pack(values: Array, kept: Array) -> tuple[Array, Array]:
    """The kept values of every column moved to its top, ``[U, B]`` padded with 0, and how many, ``[B]``."""
    counts = kept.sum(0)
    order = np.argsort(~kept, axis=0, kind="stable")
    top = np.take_along_axis(np.where(kept, values, 0), order, 0)[: max(int(counts.max()), 1)]
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
    onsets, codas, facts = tables()
    shape = (most, size)
    phones = np.full((most, SLOTS, size), -1)
    phones[:, :2] = onsets[rng.integers(0, len(onsets), shape)].swapaxes(1, 2)
    phones[:, 2] = rng.integers(1, 1 + len(VOWELS), shape)
    phones[:, 3] = codas[rng.integers(0, len(codas), shape)]
    phones[:-1, 3][phones[:-1, 3] == phones[1:, 0]] = -1
    phones[:-1, 4] = np.where(rng.random((most - 1, size)) < PAUSES, SILENCE, -1)
    count = rng.integers(fewest, most + 1, size)
    phones[(np.arange(most)[:, None] >= count)[:, None].repeat(SLOTS, 1)] = -1
    phones[count - 1, 4, np.arange(size)] = -1
    accent = rng.integers(0, max(accents, 1), size)
    flat = phones.reshape(-1, size)
    sounds = np.where((flat >= 1) & (flat <= len(VOWELS)), (flat - 1 - accent) % len(VOWELS) + 1, flat)
    if accents:
        flat = np.concatenate([np.full((2, size), SILENCE), flat])
        sounds = np.concatenate([[len(NAMES) + accent, np.full(size, SILENCE)], sounds])
    low, high = facts[sounds, 5], facts[sounds, 6]
    rate = np.exp(rng.uniform(-RATE, RATE, size))
    frames = np.maximum(np.rint((low + rng.random(flat.shape) * (high - low)) * rate).astype(np.int64), 2)
    frames[flat < 0] = 0
    if accents:
        frames[1] = pause
    return Plan(
        np.maximum(flat, SILENCE),
        np.maximum(sounds, SILENCE),
        frames,
        frames[:2].sum(0) if accents else np.zeros(size, np.int64),
        rng.uniform(-TRACT, TRACT, size),
        rng.uniform(-1, 1, (size, 2)) * (GAIN, TILT),
    )
