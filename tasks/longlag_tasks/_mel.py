"""The front end: samples to log power in mel-spaced bands, a frame every 10 ms."""

from __future__ import annotations

from functools import cache

import numpy as np

from longlag.task import Array
from longlag_tasks._voice import mel

HOP, WINDOW = 0.010, 0.025
"""Seconds from frame to frame, and of the Hamming window around each."""
LOWEST, HIGHEST = 60.0, 8000.0
QUIET = 1e-8
"""Added to the power of every band: some 80 dB below full scale."""


def frames_of(seconds: float) -> int:
    """Whole frames in so many seconds."""
    return int(seconds / HOP + 1e-6)


def log_mel(samples: Array, rate: int, bands: int) -> Array:
    """Natural log of the power in `bands` triangular mel bands, float32 ``[T, bands]``; T = whole 10 ms in it.

    Frame t is centred on ``(t + 1/2) 10 ms``; beyond the ends there is silence.
    """
    count, width = frames_of(len(samples) / rate), round(WINDOW * rate)
    centres = np.rint((np.arange(count) + 0.5) * HOP * rate).astype(np.int64)
    padded = np.pad(samples, (width, width))
    windows = padded[centres[:, None] + np.arange(width) + width - width // 2]
    window, filters = _filters(rate, width, bands)
    power = np.abs(np.fft.rfft(windows * window, n=2 * filters.shape[0] - 2)) ** 2
    logs: Array = np.log(power @ filters + QUIET)
    return logs.astype(np.float32)


@cache
def _filters(rate: int, width: int, bands: int) -> tuple[Array, Array]:
    """The window, of unit power, and the triangles ``[F, bands]``, each of height 1."""
    size = 1 << (width - 1).bit_length()
    edges = np.linspace(float(mel(LOWEST)), float(mel(min(HIGHEST, rate / 2))), bands + 2)
    at = mel(np.fft.rfftfreq(size, 1 / rate))[:, None]
    rising = (at - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - at) / np.diff(edges)[1:]
    window = np.hamming(width)
    return window / np.sqrt(np.sum(window**2) * size), np.maximum(np.minimum(rising, falling), 0)
