"""The Mackey-Glass equation, to the last bit the same on every machine: it is chaotic, and only + - * / are used."""

from __future__ import annotations

from functools import cache

import numpy as np

from longlag.task import Array

SUBSTEPS = 10
"""Runge-Kutta steps a sample."""


@cache
def mackey_glass(samples: int, tau: int = 17, start: float = 1.2, skipped: int = 1000) -> Array:
    """``dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t)``, one sample a unit of time, float64.

    Mackey and Glass (1977); classical Runge-Kutta with steps of 0.1, the delayed value halfway between two steps
    being their mean; before time 0 the value is `start`.

    Args:
        samples: how many.
        tau: delay, units of time; from 17 on the series is chaotic.
        start: value up to time 0.
        skipped: samples left out at the beginning, while it settles.
    """
    h, lag = 1 / SUBSTEPS, tau * SUBSTEPS

    def produced(delayed: float) -> float:
        square = delayed * delayed
        fourth = square * square
        return 0.2 * delayed / (1 + fourth * fourth * square)

    path = [start] * (lag + 1)
    x, now, after = start, produced(start), 0.0
    for n in range((samples + skipped) * SUBSTEPS):
        after = produced(path[n + 1])
        half = produced((path[n] + path[n + 1]) / 2)
        k1 = now - 0.1 * x
        k2 = half - 0.1 * (x + h / 2 * k1)
        k3 = half - 0.1 * (x + h / 2 * k2)
        k4 = after - 0.1 * (x + h * k3)
        x += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(x)
        now = after
    return np.array(path[lag + (skipped + 1) * SUBSTEPS :: SUBSTEPS])
