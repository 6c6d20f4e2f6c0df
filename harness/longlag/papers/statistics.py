"""The tests behind the verdicts: exact where the samples are small, from SciPy where it has them.

Every test here is one-sided and returns a p-value: the probability, at the boundary of its null hypothesis, of data
that speak at least as strongly against it. Samples hold one value a run; infinity is a value like any other to the
tests by ranks (a run that diverged, an update that never came).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

EXACT = 20_000
"""Rearrangements up to which a permutation test visits all of them; beyond, it draws so many."""


# -- rates ------------------------------------------------------------------------------------------------------------


def rate_above(successes: int, runs: int, rate: float) -> float:
    """Against: the rate is at most `rate`. Exact binomial test."""
    from scipy.stats import binomtest

    return float(binomtest(successes, runs, rate, alternative="greater").pvalue)


def rate_below(successes: int, runs: int, rate: float) -> float:
    """Against: the rate is at least `rate`. Exact binomial test."""
    from scipy.stats import binomtest

    return float(binomtest(successes, runs, rate, alternative="less").pvalue)


def more_often(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Against: the first rate is at most the second; successes and runs of each. Fisher's exact test."""
    from scipy.stats import fisher_exact

    (a, n), (b, m) = first, second
    return float(fisher_exact([[a, n - a], [b, m - b]], alternative="greater").pvalue)


# -- permutations -----------------------------------------------------------------------------------------------------


@cache
def _choices(total: int, chosen: int) -> Values:
    """Which runs may be the first sample, as ones among zeros: all ways, or `EXACT` drawn ones. ``[ways, total]``"""
    if math.comb(total, chosen) <= EXACT:
        which = np.array(list(combinations(range(total), chosen)), dtype=np.int64)
    else:
        which = np.argsort(np.random.default_rng(0).random((EXACT, total)), axis=1)[:, :chosen]
    found = np.zeros((len(which), total))
    np.put_along_axis(found, which, 1, axis=1)
    return found


def _at_least(statistics: Values, observed: float, total: int, chosen: int) -> float:
    """Share of the rearrangements as extreme as what was observed; a drawn sample counts the observed one as well."""
    extreme = int(np.sum(statistics >= observed - 1e-9 * max(1.0, abs(observed))))
    if math.comb(total, chosen) <= EXACT:
        return extreme / len(statistics)
    return (extreme + 1) / (len(statistics) + 1)


def lower(first: Sequence[float], second: Sequence[float]) -> float:
    """Against: the first sample is not lower than the second. Mann–Whitney's rank sum by permutation, ties included.

    Three runs against three can reach p = 0.05, five against five 0.004.
    """
    from scipy.stats import rankdata

    pooled = np.array([*first, *second], dtype=np.float64)
    ranks = rankdata(pooled)
    n = len(first)
    sums = -(_choices(len(pooled), n) @ ranks)
    return _at_least(sums, -float(ranks[:n].sum()), len(pooled), n)


def faster(first: Sequence[float], second: Sequence[float], horizon: float) -> float:
    """Against: the events of the first sample do not come earlier. Log-rank statistic, by permutation.

    Args:
        first, second: times of the event; infinity, or anything above `horizon`, for one that was not seen.
        horizon: time up to which every run was watched. One horizon for both samples makes the runs exchangeable
            when there is no difference, and the test exact; the usual normal approximation is not, with few runs.
    """
    pooled = np.array([*first, *second], dtype=np.float64)
    seen = pooled <= horizon
    times = np.where(seen, pooled, np.inf)
    n = len(first)
    scores = _logrank_scores(times, seen)
    sums = _choices(len(pooled), n) @ scores
    return _at_least(sums, float(scores[:n].sum()), len(pooled), n)


def _logrank_scores(times: Values, seen: NDArray[np.bool_]) -> Values:
    """Each run's part in observed minus expected events: 1 - H(t) for an event, - H(t) for a censored one.

    H is the Nelson–Aalen estimate of the pooled sample; the sum over a sample is its observed minus expected events,
    the numerator of the log-rank statistic.
    """
    hazard = np.zeros(len(times))
    for t in np.unique(times[seen]):
        step = np.sum(times[seen] == t) / np.sum(times >= t)
        hazard[times >= t] += step
    return seen.astype(np.float64) - hazard


def rising(samples: Sequence[Sequence[float]]) -> float:
    """Against: the samples do not rise from one to the next. Cuzick's (1985) trend statistic, by permutation.

    It is the sum over runs of the sample's number times the rank of the value. Of zeros and ones it is the test of
    Cochran (1954) and Armitage (1955) for a trend of rates.
    """
    from scipy.stats import rankdata

    sizes = [len(sample) for sample in samples]
    ranks = rankdata(np.array([value for sample in samples for value in sample], dtype=np.float64))
    group = np.repeat(np.arange(len(sizes)), sizes).astype(np.float64)
    orders = _orders(len(ranks))
    observed = float(group @ ranks)
    extreme = int(np.sum(ranks[orders] @ group >= observed - 1e-9 * max(1.0, observed)))
    return (extreme + 1) / (len(orders) + 1)


@cache
def _orders(total: int) -> NDArray[np.int64]:
    """Drawn rearrangements of so many runs, ``[ways, total]``."""
    rng = np.random.default_rng(0)
    return np.argsort(rng.random((EXACT // 2, total)), axis=1)


# -- importances ------------------------------------------------------------------------------------------------------


def explained(values: Sequence[float], parameter: Sequence[float]) -> float:
    """Share of the variance of the values' ranks that a parabola in the parameter's ranks explains: 0 to 1.

    Ranks, so that diverged runs count; a parabola, since the best learning rate lies somewhere in the middle.
    """
    return float(_explained(_ranks(values), _ranks(parameter)[None])[0])


def explains_more(values: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float:
    """Against: the first parameter does not explain more of the values than the second.

    The two, as ranks, change places in some of the runs, drawn by chance: where it makes no difference which is which,
    that changes nothing.
    """
    y, a, b = _ranks(values), _ranks(first), _ranks(second)
    rng = np.random.default_rng(0)
    swap = rng.random((EXACT // 10, len(y))) < 0.5
    difference = _explained(y, np.where(swap, b, a)) - _explained(y, np.where(swap, a, b))
    observed = float(_explained(y, a[None])[0] - _explained(y, b[None])[0])
    return (int(np.sum(difference >= observed - 1e-9)) + 1) / (len(difference) + 1)


def _ranks(values: Sequence[float]) -> Values:
    from scipy.stats import rankdata

    ranks: Values = rankdata(np.array(values, dtype=np.float64))
    centred: Values = (ranks - ranks.mean()) / len(ranks)
    return centred


def _explained(y: Values, x: Values) -> Values:
    """R squared of y ``[n]`` on 1, x and x^2, for every row of x ``[ways, n]``."""
    first = x - x.mean(1, keepdims=True)
    second = x**2 - (x**2).mean(1, keepdims=True)
    size = (first**2).sum(1, keepdims=True)
    second = second - first * np.divide((first * second).sum(1, keepdims=True), size, where=size > 0, out=size * 0)
    y = y - y.mean()
    total = float((y**2).sum())
    if total == 0:
        return np.zeros(len(x))
    result = np.zeros(len(x))
    for part in (first, second):
        size = (part**2).sum(1)
        projected = (part @ y) ** 2
        result += np.divide(projected, size, where=size > 1e-12, out=np.zeros(len(x)))
    return result / total


# -- means ------------------------------------------------------------------------------------------------------------


def mean_above(values: Sequence[float], bound: float) -> float:
    """Against: the mean is at most `bound`. Student's t test; 1 for fewer than two values.

    Infinite values leave no mean to test: then the sign test says whether the median is at most `bound`.
    """
    finite = np.array(values, dtype=np.float64)
    if len(finite) < 2:
        return 1.0
    if not np.all(np.isfinite(finite)):
        return rate_above(int(np.sum(finite > bound)), len(finite), 0.5)
    if np.ptp(finite) == 0:
        return rate_above(int(np.sum(finite > bound)), len(finite), 0.5)
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(finite, bound, alternative="greater").pvalue)


def mean_below(values: Sequence[float], bound: float) -> float:
    """Against: the mean is at least `bound`; see `mean_above`."""
    return mean_above([-value for value in values], -bound)


def difference_below(first: Sequence[float], second: Sequence[float], margin: float) -> float:
    """Against: the first mean is at least `margin` above the second. Welch's t test; 1 where there is no mean."""
    a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    if len(a) < 2 or len(b) < 2 or not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        return 1.0
    if np.ptp(a) == 0 and np.ptp(b) == 0:  # no spread: nothing but the order of the runs is known
        return lower((a - margin).tolist(), b.tolist())
    from scipy.stats import ttest_ind

    return float(ttest_ind(a - margin, b, equal_var=False, alternative="less").pvalue)


# -- many claims ------------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: the chance of any false rejection among them is bounded, whatever they share."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
