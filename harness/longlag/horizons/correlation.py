"""Does the gradient horizon before training say how long a lag a cell learns? Over the cells of one study."""

from __future__ import annotations

import math
from typing import Any

from longlag.horizons.measurements import HorizonMeasurements

FEWEST = 5
"""Cells below which nothing is said."""
RESAMPLES = 20_000


def agreement(measurements: HorizonMeasurements) -> str:
    """Kendall's tau-b of gradient horizon and T50 over the cells, and its permutation test, in a sentence.

    What lies beyond the lags looked at is tied there, on either side.
    """
    import numpy as np
    from scipy.stats import permutation_test, rankdata

    found = []
    for cell, fit in measurements.by_horizon():
        reach = cell.gradient_horizon()
        if reach is not None:
            longest = fit.median or (math.inf if fit.above > fit.below else 0.0)
            found.append((longest, math.inf if reach[1] else reach[0]))
    horizons, reaches = (rankdata([pair[place] for pair in found]) for place in (0, 1))
    if len(found) < FEWEST or len(set(horizons)) < 2 or len(set(reaches)) < 2:
        return "Too few cells differ to say whether the gradient horizon goes with T50."
    signs = np.sign(reaches[:, None] - reaches)

    def tau(x: Any, axis: int = -1) -> Any:
        """Kendall's tau-b, for any number of orders of x at once."""
        own = np.sign(x[..., :, None] - x[..., None, :])
        return (own * signs).sum((-2, -1)) / np.sqrt((own**2).sum((-2, -1)) * (signs**2).sum())

    test = permutation_test(
        (horizons,),
        tau,
        vectorized=True,
        permutation_type="pairings",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return (
        f"Over the {len(found)} cells, Kendall's tau-b of gradient horizon before training and T50 is "
        f"{test.statistic:.2f} (two-sided permutation test: p = {test.pvalue:.2g}; values beyond the lags are tied)."
    )
