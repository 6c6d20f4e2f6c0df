"""Rank correlations between gradient flow and learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from longlag.analysis.correlation import correlate
from longlag.analysis.ranks import bootstrap, ranks, spearman


def test_it_is_spearmans_correlation_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    y = x + rng.normal(size=60)
    found = correlate("x", "y", x, y)
    assert found.rho == pytest.approx(float(spearmanr(x, y).statistic))
    assert found.low is not None and found.high is not None and found.rho is not None
    assert found.low < found.rho < found.high and 0.1 < found.high - found.low < 0.5
    assert correlate("x", "y", x, y) == found


def test_what_is_missing_or_diverged() -> None:
    x = np.array([0.1, 0.2, 0.3, 0.4, math.nan])
    found = correlate("x", "y", x, np.array([-math.inf, -3, -2, -1, 0]))
    assert found.runs == 4 and found.rho == pytest.approx(1)
    assert correlate("x", "y", x, np.ones(5)).rho is None
    assert correlate("x", "y", x[:3], np.arange(3.0)).rho is None


@pytest.mark.parametrize("size", [4, 50])
def test_ranks_and_their_bootstrap_are_scipys(size: int) -> None:
    """With ties, infinities, and an outcome of two values."""
    random = np.random.default_rng(size)
    x, y = random.integers(0, size // 2, size).astype(float), (random.uniform(size=size) < 0.5).astype(float)
    x[0], y[:2] = math.inf, (0, 1)
    assert ranks(x).tolist() == rankdata(x).tolist()
    assert spearman(x, y) == pytest.approx(float(spearmanr(x, y).statistic))
    index = np.random.default_rng(0).integers(0, size, (20, size))
    a, b = (rankdata(values[index], axis=1) for values in (x, y))
    expected = [
        np.corrcoef(*pair)[0, 1] if all(np.ptp(each) for each in pair) else math.nan for pair in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(bootstrap(x, y, 20), expected, atol=1e-12)
