"""The tests behind the verdicts against closed forms, SciPy's own, and definitions written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from longlag.papers import intervals, statistics

INF = math.inf


def test_rates() -> None:
    assert statistics.rate_above(5, 5, 1 / 3) == pytest.approx(3**-5)
    assert statistics.rate_below(0, 5, 2 / 3) == pytest.approx(3**-5)
    interval = intervals.rate_interval(5, 5)  # closed form: the lower end is (alpha/2)^(1/n)
    assert interval.low == pytest.approx(0.025 ** (1 / 5)) and interval.high == 1
    assert statistics.more_often((3, 3), (0, 3)) == pytest.approx(1 / 20)


@pytest.mark.parametrize(("first", "second"), [([1, 2, 3], [4, 5, 6]), ([1, 5, 7, 2], [3, 4, 8]), ([9, 9.5], [1, 2])])
def test_lower_is_exact_mann_whitney(first: list[float], second: list[float]) -> None:
    theirs = scipy.stats.mannwhitneyu(first, second, alternative="less", method="exact").pvalue
    assert statistics.lower(first, second) == pytest.approx(theirs)


def test_lower_with_ties_and_diverged_runs() -> None:
    """Two of three diverge against none of three: 1 of the 20 ways is as extreme, infinities being equal."""
    first, second = [1.0, 2.0, 3.0], [2.5, INF, INF]
    ranks = scipy.stats.rankdata([*first, *second])
    sums = [sum(ranks[list(chosen)]) for chosen in itertools.combinations(range(6), 3)]
    assert statistics.lower(first, second) == pytest.approx(np.mean(np.array(sums) <= sum(ranks[:3])))
    assert statistics.lower([INF, INF], [INF, INF]) == 1.0


def observed_minus_expected(first: list[float], second: list[float], horizon: float) -> float:
    """Of the first sample, by the definition: at every event, those that happened less the share at risk."""
    total = 0.0
    for t in sorted({time for time in first + second if time <= horizon}):
        at_risk = [sum(time >= t for time in sample) for sample in (first, second)]
        events = [sum(time == t for time in sample) for sample in (first, second)]
        total += events[0] - sum(events) * at_risk[0] / sum(at_risk)
    return total


@pytest.mark.parametrize(
    ("first", "second", "horizon"),
    [([100, 200, 300], [400, INF, INF], 500), ([100, 300, INF], [100, 200, 400], 450), ([100, 200], [300, 900], 350)],
)
def test_faster_is_the_log_rank_statistic_permuted(first: list[float], second: list[float], horizon: float) -> None:
    pooled = first + second
    found = observed_minus_expected(first, second, horizon)
    everything = []
    for chosen in itertools.combinations(range(len(pooled)), len(first)):
        one = [pooled[i] for i in chosen]
        other = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        everything.append(observed_minus_expected(one, other, horizon))
    expected = np.mean(np.array(everything) >= found - 1e-9)
    assert statistics.faster(first, second, horizon) == pytest.approx(expected)


def test_faster_agrees_with_scipy_for_many_runs() -> None:
    rng = np.random.default_rng(1)
    times = [np.ceil(rng.exponential(scale, 40)) for scale in (20, 30)]
    censored = [
        scipy.stats.CensoredData(uncensored=t[t <= 40], right=np.full(int(np.sum(t > 40)), 40.0)) for t in times
    ]
    theirs = scipy.stats.logrank(*censored, alternative="less").pvalue
    ours = statistics.faster(times[0].tolist(), times[1].tolist(), 40)
    assert ours == pytest.approx(min(theirs, 1 - theirs), abs=0.01)


def test_five_seeds_can_decide() -> None:
    assert statistics.faster([100.0] * 5, [INF] * 5, 2000) == pytest.approx(1 / 252)
    assert statistics.lower(range(5), range(5, 10)) == pytest.approx(1 / 252)


def test_rising_of_zeros_and_ones() -> None:
    """Against all ways to give four successes to nine runs, weighted alike."""
    samples = [[0, 0, 0], [0, 1, 0], [1, 1, 1]]
    group = np.repeat([0, 1, 2], 3)
    observed = group @ np.concatenate(samples)
    all_ways = [sum(group[list(chosen)]) for chosen in itertools.combinations(range(9), 4)]
    exact = np.mean(np.array(all_ways) >= observed)
    assert statistics.rising(samples) == pytest.approx(exact, abs=4 * math.sqrt(exact / 10_000))


def test_explained() -> None:
    """R squared of a parabola, by NumPy's own fit."""
    rng = np.random.default_rng(2)
    x, y = rng.random(40), rng.random(40)
    a, b = scipy.stats.rankdata(x), scipy.stats.rankdata(y)
    left = b - np.polyval(np.polyfit(a, b, 2), a)
    assert statistics.explained(y.tolist(), x.tolist()) == pytest.approx(1 - np.var(left) / np.var(b))
    assert statistics.explained([1.0] * 5, range(5)) == 0.0
    valley = [(value - 0.5) ** 2 for value in x]
    assert statistics.explained(valley, x.tolist()) > 0.8
    assert statistics.explains_more(valley, x.tolist(), y.tolist()) < 0.01
    assert statistics.explains_more(valley, y.tolist(), x.tolist()) > 0.99


def test_means() -> None:
    values = [1.0, 2.0, 4.0]
    t = (np.mean(values) - 1) / (np.std(values, ddof=1) / math.sqrt(3))
    assert statistics.mean_above(values, 1) == pytest.approx(scipy.stats.t.sf(t, 2))
    assert statistics.mean_below(values, 1) == pytest.approx(scipy.stats.t.cdf(t, 2))
    assert statistics.mean_above([3.0, INF, INF], 2) == pytest.approx(1 / 8), "a sign test where there is no mean"
    assert statistics.mean_above([3.0], 2) == 1
    assert statistics.difference_below([1.0, INF], [1.0, 2.0], 3) == 1
    shift = statistics.difference_below([1.0, 1.2, 1.1], [1.0, 1.1, 1.3], 1)
    assert shift == pytest.approx(
        scipy.stats.ttest_ind([0.0, 0.2, 0.1], [1.0, 1.1, 1.3], equal_var=False, alternative="less").pvalue
    )


@pytest.mark.parametrize(
    ("n", "low", "coverage"), [(3, 0, 0.75), (5, 0, 0.9375), (6, 0, 1 - 2 / 64), (9, 1, 1 - 20 / 512)]
)
def test_median_interval(n: int, low: int, coverage: float) -> None:
    interval = intervals.median_interval([float(i) for i in reversed(range(n))])
    assert (interval.low, interval.high) == (low, n - 1 - low)
    assert interval.level == pytest.approx(coverage)


def test_mean_interval() -> None:
    interval = intervals.mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert 1 < interval.low < 3 < interval.high < 5 and interval.method.startswith("bootstrap")
    assert intervals.mean_interval([2.0, 2.0]).low == 2.0


def test_holm() -> None:
    """The example: 0.01, 0.04, 0.03 -> 0.03, 0.06, 0.06."""
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0] and statistics.holm([]) == []
