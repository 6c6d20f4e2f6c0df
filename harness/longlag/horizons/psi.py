"""The psi method: where to look next for the lag at which half the runs succeed, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAPSE = 0.02
"""Chance that a run fails however short the lag, and that it succeeds however long."""
MARGIN = 4.0
"""The threshold is sought from shortest / MARGIN to longest * MARGIN: what lies outside of the lags is censored."""
THRESHOLDS = 161
SPREADS = tuple(float(value) for value in np.geomspace(0.05, 0.8, 12))
"""Scales of the logistic curve in units of ln T: from 10% to 90% of the runs within a factor of 1.25 ... 34 in T."""
CANDIDATES = 48
LEVEL = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """One run: the lag it had and whether it succeeded."""

    lag: int
    solved: bool


@dataclass(frozen=True)
class Threshold:
    """What is known of T50, the lag at which half the runs succeed.

    Attributes:
        median: of the posterior, in steps; None where that is outside of the lags looked at.
        low: the 2.5% quantile; None where the interval is open below the shortest lag.
        high: the 97.5% quantile; None where it is open above the longest.
        below: posterior probability that T50 is under the shortest lag.
        above: that it is over the longest.
        runs: how many it rests on.
    """

    median: float | None
    low: float | None
    high: float | None
    below: float
    above: float
    runs: int


@dataclass(frozen=True)
class Psi:
    """The psi-marginal method: Kontsevich and Tyler (1999), with the spread as a nuisance as in Prins (2013).

    A run at lag T succeeds with probability

        p(T) = LAPSE + (1 - 2 LAPSE) / (1 + exp((ln T - ln T50) / s))

    which is 1/2 at T50 whatever s. The prior is uniform in ln T50 over [ln(shortest / MARGIN), ln(longest MARGIN)] and
    in ln s over `SPREADS`; both are grids, and the posterior is exact on them. The next lag is the one after which the
    expected entropy of the posterior of T50 is least, s integrated out, thresholds below the shortest lag taken as one
    case and those above the longest as another, since no lag could tell them apart. Several lags at once are chosen
    greedily by the entropy expected after all of them.

    Args:
        shortest: least lag that may be asked for, steps.
        longest: greatest.
    """

    shortest: int
    longest: int

    @cached_property
    def thresholds(self) -> Values:
        """ln T50, ``[A]``."""
        values: Values = np.linspace(math.log(self.shortest / MARGIN), math.log(self.longest * MARGIN), THRESHOLDS)
        return values

    @cached_property
    def candidates(self) -> NDArray[np.int64]:
        """Lags that may be asked for: whole, log-spaced, both ends among them."""
        spaced = np.geomspace(self.shortest, self.longest, CANDIDATES)
        values: NDArray[np.int64] = np.unique(spaced.round().astype(np.int64))
        return values

    @cached_property
    def likelihoods(self) -> Values:
        """Probability of success by candidate, threshold and spread, ``[C, A, S]``."""
        return self.success(self.candidates)

    def success(self, lags: Any) -> Values:
        """The same for any lags."""
        x = np.log(np.asarray(lags, dtype=np.float64))[:, None, None]
        curve = 1 / (1 + np.exp((x - self.thresholds[None, :, None]) / np.asarray(SPREADS)[None, None, :]))
        values: Values = LAPSE + (1 - 2 * LAPSE) * curve
        return values

    def posterior(self, trials: Sequence[Trial]) -> Values:
        """Of threshold and spread, ``[A, S]``, summing to 1; the order of the trials does not matter."""
        log = np.zeros((THRESHOLDS, len(SPREADS)))
        if trials:
            success = self.success([trial.lag for trial in trials])
            solved = np.array([trial.solved for trial in trials])[:, None, None]
            log = np.sort(np.log(np.where(solved, success, 1 - success)), axis=0).sum(
                0
            )  # sorted: the same in any order
        weights: Values = np.exp(log - log.max())
        weights /= weights.sum()
        return weights

    def propose(self, trials: Sequence[Trial], count: int = 1) -> list[int]:
        """The next `count` lags, in steps."""
        branches = self.posterior(trials)[None]  # [outcomes so far, A, S], each weighted by its probability
        chosen: list[int] = []
        for _ in range(count):
            solved = np.einsum("oas,cas->coa", branches, self.likelihoods)
            failed = branches.sum(2)[None] - solved
            expected = self._entropy(np.concatenate([solved, failed], axis=1)).sum(1)
            best = int(np.argmin(np.round(expected, 12)))  # the shorter lag where two are as good
            chosen.append(int(self.candidates[best]))
            likelihood = self.likelihoods[best][None]
            branches = np.concatenate([branches * likelihood, branches * (1 - likelihood)])
        return chosen

    def _entropy(self, joint: Values) -> Values:
        """Of the censored threshold under each branch ``[..., A]``, in nats, times the branch's probability."""
        cases = self._censored(joint)
        total = cases.sum(-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(cases > 0, cases * np.log(cases / total), 0.0)
        values: Values = -terms.sum(-1)
        return values

    def _censored(self, joint: Values) -> Values:
        """All thresholds below the shortest lag as one case, and all above the longest."""
        below = self.thresholds < math.log(self.shortest)
        above = self.thresholds > math.log(self.longest)
        ends = [joint[..., below].sum(-1, keepdims=True), joint[..., above].sum(-1, keepdims=True)]
        values: Values = np.concatenate([joint[..., ~(below | above)], *ends], axis=-1)
        return values

    def estimate(self, trials: Sequence[Trial], level: float = LEVEL) -> Threshold:
        """Median and central interval of the posterior of T50."""
        weights = self.posterior(trials).sum(1)
        total = np.cumsum(weights) - weights / 2  # of the grid's point itself, half lies below
        low, middle, high = (
            float(np.interp(share, total, self.thresholds)) for share in ((1 - level) / 2, 0.5, (1 + level) / 2)
        )
        bottom, top = math.log(self.shortest), math.log(self.longest)
        return Threshold(
            median=math.exp(middle) if bottom <= middle <= top else None,
            low=math.exp(min(low, top)) if low >= bottom else None,
            high=math.exp(max(high, bottom)) if high <= top else None,
            below=float(weights[self.thresholds < bottom].sum()),
            above=float(weights[self.thresholds > top].sum()),
            runs=len(trials),
        )
