"""What a curve of gradient norms over the lag says, in a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TINY_SHARE = 1e-6
"""Of the norm at lag 0: what is smaller counts as lost."""

Norms = NDArray[np.float64]


def horizon(by_lag: Norms, fraction: float) -> int:
    """The longest lag, in steps, at which the norm is still at least `fraction` of that at lag 0.

    0 when no earlier state has so much, and when the gradient at lag 0 is zero or not finite.
    """
    last = by_lag[0]
    if not (math.isfinite(last) and last > 0):
        return 0
    return int(np.flatnonzero(by_lag >= fraction * last)[-1])


def slope(by_lag: Norms) -> tuple[float, float]:
    """Decades gained a step back in time (below 0: vanishing), and the standard error of that.

    Least squares of log10 of the norm on the lag, where the norm is finite and above 0. The error is that of
    independent residuals; neighbouring lags are not, so it is a lower bound. NaN with fewer than three lags, that of a
    constant curve too. In NumPy alone: importing scipy.stats takes a second of every run.
    """
    used = np.isfinite(by_lag) & (by_lag > 0)
    if used.sum() < 3:
        return math.nan, math.nan
    of_lags, covariance, _, of_values = np.cov(np.flatnonzero(used), np.log10(by_lag[used]), bias=True).flat
    with np.errstate(invalid="ignore"):
        correlation = np.clip(covariance / np.sqrt(of_lags * of_values), -1, 1)
    error = np.sqrt((1 - correlation**2) * of_values / of_lags / (used.sum() - 2))
    return float(covariance / of_lags), float(error)


def log10_ratio(last: float, first: float) -> float:
    """log10 of the norm at the first step over that at the last: -6 says that six decades were lost.

    Minus infinity where the first one underflowed to zero, NaN where the last one did.
    """
    if not last > 0 or math.isnan(first) or math.isinf(last):
        return math.nan
    if not first > 0:
        return -math.inf
    return math.inf if math.isinf(first) else math.log10(first) - math.log10(last)


def tiny(by_lag: Norms) -> float:
    """Share of the steps whose norm is under 1e-6 of that at lag 0; NaN where that one is zero or not finite."""
    last = by_lag[0]
    return float(np.mean(by_lag < TINY_SHARE * last)) if math.isfinite(last) and last > 0 else math.nan


def underflow(by_lag: Norms) -> int | None:
    """The first lag from which on every norm is exactly zero: too small for the number format. None: there is none."""
    alive = np.flatnonzero(by_lag != 0)
    first = int(alive[-1]) + 1 if len(alive) else 0
    return first if first < len(by_lag) else None


@dataclass(frozen=True)
class Scalars:
    """A curve in numbers.

    Args:
        horizon: the longest lag at which at least 1% of the norm at lag 0 is left.
        horizon10: the same for 10%.
        slope: decades a step back in time, fitted over the lag; below 0 the gradient vanishes.
        slope_error: the fit's standard error of it.
        log10_ratio: log10 of the norm at the first step over that at the last.
        tiny: share of the steps under 1e-6 of the last.
        underflow: the lag from which on every norm is exactly zero, NaN where none is.
    """

    horizon: float
    horizon10: float
    slope: float
    slope_error: float
    log10_ratio: float
    tiny: float
    underflow: float

    @classmethod
    def of(cls, by_lag: Norms, first: float | None = None) -> Scalars:
        """Of norms by lag; `first` is the norm at the first step where that is not the one at the longest lag."""
        fitted, error = slope(by_lag)
        zero = underflow(by_lag)
        return cls(
            horizon=float(horizon(by_lag, 0.01)),
            horizon10=float(horizon(by_lag, 0.1)),
            slope=fitted,
            slope_error=error,
            log10_ratio=log10_ratio(float(by_lag[0]), float(by_lag[-1] if first is None else first)),
            tiny=tiny(by_lag),
            underflow=math.nan if zero is None else float(zero),
        )
