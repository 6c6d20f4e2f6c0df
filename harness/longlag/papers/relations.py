"""What a relation says about measured runs: how strongly they speak for it, how strongly against it.

For every relation there are two null hypotheses. *For*: the relation's opposite, with its boundary; rejecting it says
that the relation holds. *Against*: the relation itself, likewise. A statement of several parts holds when all of them
do: its p-value *for* is the largest of theirs (intersection-union test), and *against* the smallest times their number
(Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longlag.papers import statistics
from longlag.papers.claims import Condition, Importance, MoreOften, MostRuns, Order, Relation, Similar, Trend, Within
from longlag.papers.quantity import Quantity


@dataclass(frozen=True)
class Sample:
    """The values of one quantity over the runs of an arm.

    Args:
        values: one a run; infinity for a number above the budget, or of a run that diverged.
        horizon: the least budget of the runs, for censored quantities.
        drawn: of each run the values that were drawn for it, by dotted path; empty where nothing is.
    """

    values: tuple[float, ...]
    horizon: float = math.inf
    drawn: tuple[Mapping[str, float], ...] = ()

    def column(self, path: str) -> list[float]:
        """A drawn field, one value a run."""
        return [float(values[path]) for values in self.drawn]


Samples = Mapping[tuple[str, str], Sample]
"""By arm and quantity (as text)."""


@dataclass(frozen=True)
class Evidence:
    """What the runs say.

    Args:
        for_: p-value against the relation's opposite.
        against: p-value against the relation.
        test: which tests.
    """

    for_: float
    against: float
    test: str


def weigh(relation: Relation, samples: Samples) -> Evidence:
    """The evidence that samples give; see the module.

    A value that is not a number, such as the ratio of two gradients that underflowed, fulfils no condition; where
    values are compared with one another it leaves nothing to say.
    """
    if not isinstance(relation, MostRuns | MoreOften):
        used = [samples[(arm, str(quantity))] for arm, quantity in relation.uses()]
        if any(math.isnan(value) for sample in used for value in sample.values):
            return Evidence(1.0, 1.0, "none: some runs have no such number")
    match relation:
        case MostRuns():
            return _most_runs(relation, samples)
        case Order():
            return _order(relation, samples)
        case MoreOften():
            return _more_often(relation, samples)
        case Within():
            return _within(relation, samples)
        case Similar():
            return _similar(relation, samples)
        case Trend():
            return _trend(relation, samples)
        case Importance():
            return _importance(relation, samples)


def _all(parts: Sequence[tuple[float, float]], test: str) -> Evidence:
    several = f", all {len(parts)} parts" if len(parts) > 1 else ""
    return Evidence(
        max(part[0] for part in parts),
        min(1.0, len(parts) * min(part[1] for part in parts)),
        f"{test}{several}",
    )


def count(condition: Condition, sample: Sample) -> tuple[int, int]:
    """How many runs fulfil a condition, and how many there are."""
    return sum(condition.met(value) for value in sample.values), len(sample.values)


def _get(samples: Samples, arm: str, quantity: Quantity) -> Sample:
    return samples[(arm, str(quantity))]


def _most_runs(relation: MostRuns, samples: Samples) -> Evidence:
    parts = []
    for item in relation.all_of:
        for arm in item.arms:
            met, runs = count(item, _get(samples, arm, item.quantity))
            parts.append(
                (
                    statistics.rate_above(met, runs, relation.fails),
                    statistics.rate_below(met, runs, relation.holds),
                )
            )
    return _all(parts, f"exact binomial, rate above {_share(relation.fails)} / below {_share(relation.holds)}")


def _share(rate: float) -> str:
    return {1 / 3: "1/3", 2 / 3: "2/3", 0.5: "1/2"}.get(rate, f"{rate:g}")


def _order(relation: Order, samples: Samples) -> Evidence:
    parts = []
    for arm, other in relation.pairs():
        first, second = _get(samples, arm, relation.quantity), _get(samples, other, relation.quantity)
        if relation.kind == "higher":
            first, second = second, first  # a is higher than b when b is lower than a
        a = [value * relation.factor for value in first.values]
        b = list(second.values)
        if relation.quantity.censored:
            horizon = min(first.horizon * relation.factor, second.horizon)
            parts.append((statistics.faster(a, b, horizon), statistics.faster(b, a, horizon)))
        else:
            parts.append((statistics.lower(a, b), statistics.lower(b, a)))
    test = "log-rank, permuted" if relation.quantity.censored else "Mann–Whitney, permuted"
    return _all(parts, test + (f", factor {relation.factor:g}" if relation.factor != 1 else ""))


def _more_often(relation: MoreOften, samples: Samples) -> Evidence:
    first = count(relation, _get(samples, relation.arm, relation.quantity))
    second = count(relation, _get(samples, relation.than, relation.quantity))
    return Evidence(statistics.more_often(first, second), statistics.more_often(second, first), "Fisher's exact test")


def _within(relation: Within, samples: Samples) -> Evidence:
    values = list(_get(samples, relation.arm, relation.quantity).values)
    low, high = relation.low, relation.high
    if relation.log:
        values = [math.log(value) if value > 0 else -math.inf for value in values]
        low, high = math.log(low), math.log(high)
    above, below = statistics.mean_above(values, low), statistics.mean_below(values, high)
    outside = min(statistics.mean_below(values, low), statistics.mean_above(values, high))
    return Evidence(max(above, below), min(1.0, 2 * outside), "two one-sided t tests")


def _similar(relation: Similar, samples: Samples) -> Evidence:
    first, second = (_get(samples, arm, relation.quantity).values for arm in relation.arms)
    margin = relation.margin
    near = max(statistics.difference_below(first, second, margin), statistics.difference_below(second, first, margin))
    far = min(statistics.difference_below(second, first, -margin), statistics.difference_below(first, second, -margin))
    return Evidence(near, min(1.0, 2 * far), f"two one-sided Welch tests, margin {margin:g}")


def _trend(relation: Trend, samples: Samples) -> Evidence:
    values = [list(_get(samples, arm, relation.quantity).values) for arm in relation.arms]
    sign = 1 if relation.direction == "rises" else -1
    up = [[sign * value for value in sample] for sample in values]
    down = [[-value for value in sample] for sample in up]
    return Evidence(statistics.rising(up), statistics.rising(down), "Cuzick's trend test, permuted")


def _importance(relation: Importance, samples: Samples) -> Evidence:
    sample = _get(samples, relation.arm, relation.quantity)
    first, second = sample.column(relation.of), sample.column(relation.over)
    return Evidence(
        statistics.explains_more(sample.values, first, second),
        statistics.explains_more(sample.values, second, first),
        "variance explained, parameters exchanged",
    )
