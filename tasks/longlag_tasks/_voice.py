"""The synthetic speaker's voice: formants that glide, voicing and noise, as frames like a log-mel spectrum."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from longlag.task import Array
from longlag_tasks._draws import uniform_noise
from longlag_tasks._speaker import KINDS, SILENCE, Plan, tables

FLOOR = 2e-3
"""Power of silence, in every band."""
SCALE = 1 / 3
"""Units of a frame to a neper of power."""
GLIDE = 3
CLOSURE = 0.6
"""Share of a plosive before its burst."""


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
        noise: standard deviation of the noise of the line, `uniform_noise`, drawn from `rng`.
        rng: needed where there is noise.
    """
    rows = _spectra(bands)
    places, strengths = _sounds(said, glide)
    flat = np.empty((len(places) + 1, bands), np.float32)
    flat[-1] = 0  # what goes behind every end
    frames = flat[:-1]
    # "clip" writes to `out` itself, the default to a copy
    rows.resonances.take(places, 0, frames, "clip")
    more = rows.voicing.take(strengths, 0)
    frames *= more
    frames += rows.noise.take(strengths, 0, more, "clip")
    frames += FLOOR
    np.log(frames, out=frames)
    frames *= SCALE
    loudness = (1 + said.loudness[:, :1] + said.loudness[:, 1:] * rows.slope).astype(np.float32)
    frames += loudness.take(said.speakers, 0, more, "clip")
    if noise:
        assert rng is not None
        frames += uniform_noise(noise, rng, more)
    return said.apart(flat)


def _sounds(said: Plan, glide: int) -> tuple[Array, Array]:
    """For every frame of one utterance after the other, ``[N]``, its rows in `Spectra`.

    Returns:
        that of the resonances; that of voicing and noise.
    """
    slots, size = said.sounds.shape
    margin = max(glide, 1)
    # silence around each utterance, so that none runs into the next
    sounds, lasts = np.full((size, slots + 2), SILENCE), np.full((size, slots + 2), margin)
    sounds[:, 1:-1], lasts[:, 1:-1] = said.sounds.T, said.frames.T
    formants = tables()[2][:, :2].T.take(sounds, 1)
    formants *= np.exp(said.tract, dtype=np.float32)[:, None]
    lower, upper = _place(_smooth(formants.reshape(2, -1).repeat(lasts.ravel(), 1), glide))
    _, states, bursts = _states()
    halves = np.empty((*lasts.shape, 2), np.int64)  # closure and burst
    halves[..., 1] = np.rint(lasts * bursts.take(sounds))
    np.subtract(lasts, halves[..., 1], out=halves[..., 0])
    strengths = _triples(states.take(sounds, 0).ravel().repeat(halves.ravel()))
    at = np.arange(len(said.speakers)) + 2 * margin * said.speakers
    return (GRID * lower + upper)[margin - glide :].take(at), strengths[margin - 1 :].take(at)


def _smooth(values: Array, half: int) -> Array:
    """Means of ``2 half + 1`` neighbours in ``[..., M]``; the first is that around place `half`."""
    count = values.shape[-1] - 2 * half
    total = values[..., :count].copy()
    for shift in range(1, 2 * half + 1):
        total += values[..., shift : shift + count]
    total *= 1 / (2 * half + 1)
    return total


def _triples(states: Array) -> Array:
    """Three neighbours in ``[M]`` as one number, a row of `Spectra`; the first is that around place 1."""
    count = len(_states()[0])
    number = states[:-2] * count
    number += states[1:-1]
    number *= count
    number += states[2:]
    return number


def _place(hertz: Array) -> Array:
    """The nearest place of the grid, on which all speakers' formants and all noise stand."""
    return np.rint((mel(hertz) - LOWEST) * ((GRID - 1) / (HIGHEST - LOWEST))).astype(np.intp)


class Spectra(NamedTuple):
    """Tables of rows, a number a band; those of voicing and noise stand in the order of `_triples`.

    Args:
        resonances: power of both, row ``GRID * lower + upper``.
        voicing: the factor on it, the same in all bands: NumPy multiplies rows by rows faster than rows by numbers.
        noise: its power.
        slope: one row, -1 to 1.
    """

    resonances: Array
    voicing: Array
    noise: Array
    slope: Array


@cache
def _spectra(bands: int) -> Spectra:
    centre = np.linspace(LOWEST, HIGHEST, bands)
    place = np.linspace(LOWEST, HIGHEST, GRID)[:, None]
    distance = centre - place
    fall = np.exp(-(centre - LOWEST) / 900)
    lower, upper = 1 / (1 + (distance / 90) ** 2), 1 / (1 + (distance / 110) ** 2)
    resonances = (lower * fall)[:, None] + 0.7 * upper * fall**0.5
    hiss = np.exp(-((distance / 350) ** 2)).astype(np.float32)
    voicing, noise, hertz = _states()[0].T
    return Spectra(
        resonances.reshape(GRID * GRID, bands).astype(np.float32),
        np.repeat(_power(voicing).reshape(-1, 1), bands, 1),
        (_power(noise)[..., None] * hiss[_place(hertz)][:, None]).reshape(-1, bands),
        np.linspace(-1, 1, bands),
    )


def _power(amplitudes: Array) -> Array:
    """The power of every three neighbours: of their mean amplitude, ``[n, n, n]``."""
    total = amplitudes[:, None, None] + amplitudes[:, None] + amplitudes
    total *= 1 / 3
    return np.asarray(total * total)


@cache
def _states() -> tuple[Array, Array, Array]:
    """What a frame may be made of besides resonances.

    Returns:
        voicing, noise, and where the noise stands, ``[n, 3]``; for every sound, rows of it: closure and burst,
        ``[25, 2]``; and which share of it is the burst: all of what is no plosive.
    """
    plosive = np.array([kind == "plosive" for kind in KINDS])
    halves = tables()[2][:, None, 2:5].repeat(2, 1)
    halves[plosive, 0, 1] = 0
    states, rows = np.unique(halves.reshape(-1, 3), axis=0, return_inverse=True)
    return states, rows.reshape(-1, 2), np.where(plosive, 1 - CLOSURE, 1)
