"""The psi method: against a plain computation of the same sums, against simulated cells, and at both ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.horizon import from_the_prior, holds, simulate
from longlag.horizons.psi import LAPSE, SPREADS, Psi, Trial

METHOD = Psi(10, 500)
TRIALS = [Trial(70, True), Trial(300, False), Trial(120, True), Trial(120, False)]


def chance(lag: float, threshold: float, spread: float) -> float:
    """The docstring's formula, one number at a time."""
    return LAPSE + (1 - 2 * LAPSE) / (1 + math.exp((math.log(lag) - threshold) / spread))


def plain_posterior(trials: list[Trial]) -> dict[tuple[float, float], float]:
    weights = {}
    for threshold, spread in itertools.product(METHOD.thresholds.tolist(), SPREADS):
        weight = 1.0
        for trial in trials:
            p = chance(trial.lag, threshold, spread)
            weight *= p if trial.solved else 1 - p
        weights[threshold, spread] = weight
    total = sum(weights.values())
    return {key: weight / total for key, weight in weights.items()}


def plain_entropy(trials: list[Trial]) -> float:
    """Of the threshold, those below the shortest lag being one case and those above the longest another."""
    cases: dict[float, float] = {}
    for (threshold, _), weight in plain_posterior(trials).items():
        case = min(max(threshold, math.log(10) - 1), math.log(500) + 1)
        if math.log(10) <= threshold <= math.log(500):
            case = threshold
        else:
            case = -math.inf if threshold < math.log(10) else math.inf
        cases[case] = cases.get(case, 0.0) + weight
    return -sum(weight * math.log(weight) for weight in cases.values() if weight > 0)


def plain_expected(trials: list[Trial], lags: list[int]) -> float:
    """Entropy expected after runs at these lags, over all of their outcomes."""
    posterior = plain_posterior(trials)
    total = 0.0
    for outcome in itertools.product([True, False], repeat=len(lags)):
        probability = 0.0
        for (threshold, spread), weight in posterior.items():
            for lag, solved in zip(lags, outcome, strict=True):
                p = chance(lag, threshold, spread)
                weight *= p if solved else 1 - p
            probability += weight
        total += probability * plain_entropy([*trials, *map(Trial, lags, outcome)])
    return total


@pytest.mark.parametrize("threshold", [0, 40, 160])
def test_half_the_runs_succeed_at_t50(threshold: int) -> None:
    lag = math.exp(METHOD.thresholds[threshold])
    np.testing.assert_allclose(METHOD.success([lag])[0, threshold], 0.5, rtol=1e-12)


def test_the_posterior_is_that_of_a_plain_sum_in_whatever_order() -> None:
    found = METHOD.posterior(TRIALS)
    plain = np.array(list(plain_posterior(TRIALS).values())).reshape(found.shape)
    np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-15)
    for order in itertools.permutations(TRIALS):
        assert np.array_equal(METHOD.posterior(list(order)), found)


def test_what_is_proposed_has_the_least_expected_entropy() -> None:
    first, second = METHOD.propose(TRIALS, 2)
    some = METHOD.candidates.tolist()[::6]
    assert plain_expected(TRIALS, [first]) <= min(plain_expected(TRIALS, [lag]) for lag in some) + 1e-9
    assert plain_expected(TRIALS, [first, second]) <= min(plain_expected(TRIALS, [first, lag]) for lag in some) + 1e-9
    assert METHOD.propose(TRIALS) == [first]


def test_candidates_are_whole_rising_and_reach_both_ends() -> None:
    lags = METHOD.candidates
    assert (lags[0], lags[-1]) == (10, 500)
    assert np.all(np.diff(lags) > 0)
    assert Psi(1, 2).candidates.tolist() == [1, 2]


def test_a_cell_that_always_solves_is_censored_above_and_one_that_never_does_below() -> None:
    always = METHOD.estimate([Trial(500, True)] * 8)
    assert always.median is None and always.high is None
    assert always.low is not None and always.low > 300
    assert always.above > 0.9 and always.below < 1e-9
    never = METHOD.estimate([Trial(10, False)] * 8)
    assert never.median is None and never.low is None
    assert never.high is not None and never.high < 15
    assert never.below > 0.9 and never.above < 1e-6


def test_nothing_known_is_open_at_both_ends() -> None:
    prior = METHOD.estimate([])
    assert prior.low is None and prior.high is None and prior.runs == 0
    assert prior.median == pytest.approx(math.sqrt(10 * 500))


@pytest.mark.parametrize("truth", [20.0, 70.0, 250.0])
def test_it_comes_to_a_known_t50(truth: float) -> None:
    found = simulate(truth, 0.1, 40, np.random.default_rng(0))
    assert found.median == pytest.approx(truth, rel=0.2)
    assert found.low is not None and found.high is not None
    assert found.high / found.low < 2


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of cells drawn from the prior; a method that held 85% would fail at this size nine times of ten."""
    cells = list(from_the_prior(150, 12, seed=1))
    held = sum(holds(found, truth) for truth, found in cells)
    assert binomtest(held, len(cells), 0.95, alternative="less").pvalue > 0.01
    closed = [found for _, found in cells if found.low is not None and found.high is not None]
    assert np.median([found.high / found.low for found in closed if found.high and found.low]) < 5
