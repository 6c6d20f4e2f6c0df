"""The synthetic speaker's voice: formants that glide, voicing and noise, as frames like a log-mel spectrum."""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np

from harness.task import Array
from tasks._speaker import KINDS, SILENCE, Plan, tables

FLOOR = 2e-3
"""Power of silence, in every band."""
SCALE = 1 / 3
"""Units of a frame to a neper of power."""
GLIDE = 3
CLOSURE = 0.6
"""Share of a plosive before its burst."""
ROWS = 1024
"""Frames that are worked on at a time, so that they stay in the processor's cache."""
LEVELS = 2**16
"""Values that the noise of the line may have."""


def mel(hertz: Array | float) -> Array:
    """Stevens, Volkmann and Newman's pitch scale in O'Shaughnessy's form, 2595 log10(1 + f / 700)."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


LOWEST, HIGHEST = float(mel(100)), float(mel(7500))
GRID = 64
"""Places on the mel scale where a resonance may stand."""


def render(
    said: Plan, bands: int, glide: int = GLIDE, noise: float = 0.0, rng: np.random.Generator | None = None
) -> Array:
    """The frames of what is said, float32 ``[T, B, bands]``, zero after the end.

    Log power, about -1 to 1. The formants of neighbouring sounds run into each other over ``2 glide + 1`` frames,
    voicing and noise over three; a plosive is a closure and, after `CLOSURE` of it, a burst. Before and after an
    utterance there is silence.

    Args:
        said: by whom and how, too.
        bands: of a frame.
        glide: frames.
        noise: standard deviation of the noise of the line, uniform on `LEVELS` values, drawn from `rng`.
        rng: needed where there is noise.
    """
    lengths = said.lengths
    frames = np.zeros((int(lengths.max()) * len(lengths), bands), np.float32)
    cells, places, noise_places, amplitudes = said.cells, *_sounds(said, glide)
    voiced, hiss = _spectra(bands)
    loudness = 1 + said.loudness[:, :1] + said.loudness[:, 1:] * np.linspace(-1, 1, bands)
    loudness = loudness.astype(np.float32)
    speaker = cells % len(lengths)
    frame = np.dtype((np.void, frames.strides[0]))  # a frame moved in one piece: thrice as fast as band by band
    whole = frames.view(frame).ravel()
    power, more = np.empty((2, ROWS, bands), np.float32)
    for start in range(0, len(cells), ROWS):
        rows = slice(start, start + ROWS)
        here = cells[rows]
        one, other = power[: len(here)], more[: len(here)]
        np.take(voiced, places[rows], 0, one, "clip")
        one *= amplitudes[0, rows, None]
        np.take(hiss, noise_places[rows], 0, other, "clip")
        other *= amplitudes[1, rows, None]
        one += other
        one += np.float32(FLOOR)
        np.log(one, one)
        one *= np.float32(SCALE)
        np.take(loudness, speaker[rows], 0, other, "clip")
        one += other
        if noise:
            assert rng is not None
            # a generator's raw output is drawn twice as fast as its integers, and has as good bits
            level = rng.bit_generator.random_raw(-(-other.size // 4)).view(np.uint16)[: other.size]
            np.multiply(level.reshape(other.shape), np.float32(noise * sqrt(12) / LEVELS), other)
            other -= np.float32(noise * sqrt(12) * (LEVELS - 1) / LEVELS / 2)
            one += other
        whole[here] = one.view(frame).ravel()
    return frames.reshape(-1, len(lengths), bands)


def _sounds(said: Plan, glide: int) -> tuple[Array, Array, Array]:
    """For every frame of one utterance after the other, N in all.

    Returns:
        where its resonances stand, as a row of `_spectra`; where its noise does; the power of voicing and noise,
        ``[2, N]``.
    """
    facts, margin = tables()[2], max(glide, 1)
    slots, size = said.sounds.shape
    burst = np.where(_plosive()[said.sounds], np.rint(said.frames * (1 - CLOSURE)).astype(np.int64), 0)
    # pieces: a margin of silence, each sound as closure and burst (the first is all of what is no plosive), a margin
    sounds, lasts = np.full((2 * slots + 2, size), SILENCE), np.full((2 * slots + 2, size), margin)
    sounds[1:-1:2] = sounds[2:-1:2] = said.sounds
    lasts[1:-1:2], lasts[2:-1:2] = said.frames - burst, burst
    made_of = facts[:, :4].T.take(sounds, 1)
    made_of[:2] *= np.exp(said.tract, dtype=np.float32)
    made_of[3, 1:-1:2][burst > 0] = 0
    flat = np.repeat(made_of.swapaxes(1, 2).reshape(4, -1), lasts.T.ravel(), 1)
    lengths = said.lengths
    at = np.arange(lengths.sum()) + 2 * margin * np.repeat(np.arange(size), lengths)
    formants = _smooth(flat[:2], glide).take(at + (margin - glide), 1)
    amplitudes = _smooth(flat[2:], 1).take(at + (margin - 1), 1)
    lower, upper = _place(formants)
    noise_places = np.repeat(_noise_places().take(said.sounds.T.ravel()), said.frames.T.ravel())
    return GRID * lower + upper, noise_places, amplitudes * amplitudes


def _smooth(values: Array, half: int) -> Array:
    """Means of ``2 half + 1`` neighbours in ``[..., M]``; the first is that around place `half`."""
    count = values.shape[-1] - 2 * half
    total = values[..., :count].copy()
    for shift in range(1, 2 * half + 1):
        total += values[..., shift : shift + count]
    total *= np.float32(1 / (2 * half + 1))
    return total


def _place(hertz: Array) -> Array:
    """The nearest place of the grid."""
    return np.rint((mel(hertz).clip(LOWEST, HIGHEST) - LOWEST) * ((GRID - 1) / (HIGHEST - LOWEST))).astype(np.intp)


@cache
def _spectra(bands: int) -> tuple[Array, Array]:
    """Power in every band: of both resonances, ``[GRID * GRID, bands]``, row ``GRID * lower + upper``; of noise."""
    centre = np.linspace(LOWEST, HIGHEST, bands)
    place = np.linspace(LOWEST, HIGHEST, GRID)[:, None]
    distance = centre - place
    fall = np.exp(-(centre - LOWEST) / 900)
    lower, upper = 1 / (1 + (distance / 90) ** 2), 1 / (1 + (distance / 110) ** 2)
    noise = np.exp(-((distance / 350) ** 2))
    voiced = (lower * fall)[:, None] + 0.7 * upper * fall**0.5
    return voiced.reshape(GRID * GRID, bands).astype(np.float32), noise.astype(np.float32)


@cache
def _plosive() -> Array:
    """Which sounds are plosives."""
    return np.array([kind == "plosive" for kind in KINDS])


@cache
def _noise_places() -> Array:
    return _place(tables()[2][:, 4])
