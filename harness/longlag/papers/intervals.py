"""Confidence intervals of what was measured: exact where the samples are small, from SciPy where it has them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Args:
        low, high: its ends.
        level: the coverage it has.
        method: how it was found.
    """

    low: float
    high: float
    level: float
    method: str


def rate_interval(successes: int, runs: int, level: float = LEVEL) -> Interval:
    """Clopper and Pearson (1934): exact, at least `level`."""
    from scipy.stats import binomtest

    found = binomtest(successes, runs).proportion_ci(level, method="exact")
    return Interval(float(found.low), float(found.high), level, "Clopper–Pearson")


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Between two of the ordered values, so that it holds for any distribution, infinite values included.

    The narrowest symmetric one with at least `level`; with fewer than six runs there is none of 95 %, and it is the
    whole range with the level that this has, 1 - 2^(1-n).
    """
    from scipy.stats import binom

    ordered = np.sort(np.array(values, dtype=np.float64))
    n = len(ordered)
    best, coverage = 0, 1 - 2.0 ** (1 - n)
    for k in range(1, n // 2):
        inside = float(1 - 2 * binom.cdf(k, n, 0.5))
        if inside < level:
            break
        best, coverage = k, inside
    return Interval(float(ordered[best]), float(ordered[n - 1 - best]), coverage, "order statistics")


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Bootstrap of the mean: BCa (Efron 1987), or percentiles where that fails, as it does for very few runs."""
    from scipy.stats import bootstrap

    given = np.array(values, dtype=np.float64)
    if len(given) < 2 or np.ptp(given) == 0 or not np.all(np.isfinite(given)):
        return Interval(float(given.min()), float(given.max()), math.nan, "range")
    for method, name in (("BCa", "bootstrap, BCa"), ("percentile", "bootstrap, percentile")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # degenerate resamples: answered by the other method
            found = bootstrap(
                (given,), np.mean, confidence_level=level, n_resamples=2000, method=method,
                rng=np.random.default_rng(0),
            ).confidence_interval  # fmt: skip
        if math.isfinite(found.low) and math.isfinite(found.high):
            return Interval(float(found.low), float(found.high), level, name)
    return Interval(float(given.min()), float(given.max()), math.nan, "range")
