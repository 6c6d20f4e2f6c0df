"""Ranks, which know infinity, and Spearman's rank correlation with its bootstrap.

In NumPy alone: importing scipy.stats takes longer than all the rest of a report.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
AT_ONCE = 100
"""Resamples whose ranks are in memory together."""


def ranks(values: Values) -> Values:
    """From 1 for the smallest; equal values share the mean of theirs. No value may be NaN."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Values = (np.cumsum(counts) - (counts - 1) / 2)[level]
    return shared


def spearman(x: Values, y: Values) -> float:
    """The correlation of the ranks; neither may be the same everywhere."""
    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def bootstrap(x: Values, y: Values, resamples: int) -> Values:
    """`spearman` of pairs drawn with replacement, from a fixed seed; NaN for a draw in which one does not vary."""
    drawn = _counts(len(x), resamples)
    found = [_weighted(x, y, drawn[start : start + AT_ONCE]) for start in range(0, resamples, AT_ONCE)]
    return np.concatenate(found)


@lru_cache(maxsize=2)
def _counts(size: int, resamples: int) -> NDArray[np.int64]:
    """How often each of `size` pairs is in a resample, ``[resamples, size]``."""
    index = np.random.default_rng(0).integers(0, size, (resamples, size))
    flat = np.bincount((index + size * np.arange(resamples)[:, None]).ravel(), minlength=resamples * size)
    return flat.reshape(resamples, size)


def _weighted(x: Values, y: Values, counts: NDArray[np.int64]) -> Values:
    """The correlation in each resample: a pair that was drawn twice counts twice, in the ranks of all as well."""
    a, b = (_ranks_in(values, counts) - (len(x) + 1) / 2 for values in (x, y))
    covariance, first, second = (np.einsum("ri,ri,ri->r", counts, *pair) for pair in ((a, b), (a, a), (b, b)))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Values = covariance / np.sqrt(first * second)
    return found


def _ranks_in(values: Values, counts: NDArray[np.int64]) -> Values:
    """The rank of every value in each resample, ``[resamples, size]``; of those that were not drawn it is none."""
    _, level = np.unique(values, return_inverse=True)
    order = np.argsort(level, kind="stable")
    starts = np.flatnonzero(np.diff(level[order], prepend=-1))
    of_level = np.add.reduceat(counts[:, order], starts, axis=1)
    shared: Values = (np.cumsum(of_level, axis=1) - (of_level - 1) / 2)[:, level]
    return shared
