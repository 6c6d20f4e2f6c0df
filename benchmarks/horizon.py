"""How often the intervals of `longlag horizon` hold the truth: ``python -m benchmarks.horizon``.

Cells whose T50 and spread are known are searched as real ones are, a coin being thrown for each run. Printed: the share
of intervals that hold T50 (95% on average over the prior; at a given truth it may be more or less), the median of their
widths as a factor, where both ends are within the lags looked at, and the bias of T50 as a factor.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from longlag.horizons.psi import SPREADS, Psi, Threshold, Trial
from longlag.horizons.spec import TOGETHER

SHORTEST, LONGEST = 10, 500


def simulate(truth: float, spread: float, runs: int, rng: np.random.Generator, lapse: float = 0.0) -> Threshold:
    """One cell, searched from nothing. Its runs fail or succeed by accident with probability `lapse`."""
    psi = Psi(SHORTEST, LONGEST)
    trials: list[Trial] = []
    while len(trials) < runs:
        for lag in psi.propose(trials, TOGETHER)[: runs - len(trials)]:
            chance = lapse + (1 - 2 * lapse) / (1 + (lag / truth) ** (1 / spread))
            trials.append(Trial(lag, bool(rng.random() < chance)))
    return psi.estimate(trials)


def holds(found: Threshold, truth: float) -> bool:
    """Whether the interval holds the truth; an open end holds everything beyond the lags looked at."""
    low = 0.0 if found.low is None else found.low
    high = np.inf if found.high is None else found.high
    return bool(low <= truth <= high)


def from_the_prior(cells: int, runs: int, seed: int) -> Iterator[tuple[float, Threshold]]:
    """Cells whose T50 and spread are drawn as the method supposes: intervals then hold the truth as often as stated."""
    for child in np.random.SeedSequence(seed).spawn(cells):
        rng = np.random.default_rng(child)
        thresholds = Psi(SHORTEST, LONGEST).thresholds
        truth = float(np.exp(rng.uniform(thresholds[0], thresholds[-1])))
        yield truth, simulate(truth, float(rng.choice(SPREADS)), runs, rng, lapse=0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=400, help="simulated cells for each line")
    parser.add_argument("--runs", default="16,32")
    arguments = parser.parse_args()
    for runs in map(int, arguments.runs.split(",")):
        drawn = list(from_the_prior(arguments.cells, runs, seed=0))
        share = np.mean([holds(found, truth) for truth, found in drawn])
        print(f"{runs} runs, T50 and spread drawn from the prior: {share:.1%} of {arguments.cells} intervals hold T50")
        print("    T50  spread   hold T50   width   bias")
        for truth in (5.0, 15.0, 70.0, 300.0, 1000.0):
            for spread in (0.1, 0.3, 0.6):
                rng = np.random.default_rng([runs, int(truth), int(10 * spread)])
                fits = [simulate(truth, spread, runs, rng) for _ in range(arguments.cells)]
                share = np.mean([holds(found, truth) for found in fits])
                widths = [f.high / f.low for f in fits if f.low is not None and f.high is not None]
                medians = [f.median / truth for f in fits if f.median is not None]
                width = f"{np.median(widths):7.2f}" if len(widths) > arguments.cells / 2 else "   open"
                bias = f"{np.exp(np.mean(np.log(medians))):6.2f}" if len(medians) > arguments.cells / 2 else "      "
                print(f"{truth:7.0f}  {spread:6.1f}   {share:8.1%} {width} {bias}", flush=True)


if __name__ == "__main__":
    main()
