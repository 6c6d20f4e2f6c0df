"""A report's content: verdicts on every claim, and what was measured for each, from the kept measurements alone."""

from __future__ import annotations

import math
import statistics as averages
from dataclasses import dataclass
from functools import partial

from longlag.errors import UserError
from longlag.papers import intervals, statistics
from longlag.papers.claims import Claim, Condition, Importance, MoreOften, MostRuns, Similar, Within
from longlag.papers.measurements import PaperMeasurements, spec_hash
from longlag.papers.relations import Sample, count
from longlag.papers.spec import PaperSpec, Scale
from longlag.papers.verdict import Verdict, judge
from longlag.parts import Parts

NOT_JUDGED = Verdict("not judged")


@dataclass(frozen=True)
class ArmResult:
    """What one arm has to do with one claim.

    Args:
        arm: its name.
        text: the measured number with its interval, in words.
        seeds: how many runs.
    """

    arm: str
    text: str
    seeds: int


@dataclass(frozen=True)
class Row:
    """A claim beside what was measured."""

    claim: Claim
    arms: tuple[ArmResult, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Report:
    """All that a page shows.

    Args:
        paper, measurements: of what.
        rows: one a claim, in the study's order; those that the scale does not judge have no measurements.
        changed: the study's file is another one than when it was measured.
        missing: what could not be computed, a sentence each.
    """

    paper: PaperSpec
    measurements: PaperMeasurements
    rows: tuple[Row, ...]
    changed: bool
    missing: tuple[str, ...] = ()

    @property
    def scale(self) -> Scale:
        return self.paper.scales[self.measurements.scale]

    @property
    def decisions(self) -> dict[str, str]:
        return {row.claim.id: row.verdict.decision for row in self.rows}


def build(paper: PaperSpec, measurements: PaperMeasurements, simulate: bool = True) -> Report:
    """The report on what was measured.

    Raises:
        UserError: when the measurements are another paper's, or lack what a claim needs.
    """
    if measurements.paper != paper.name or measurements.scale not in paper.scales:
        raise UserError(
            f"the measurements are of {measurements.paper} at scale {measurements.scale}, not of {paper.name}"
        )
    samples = measurements.samples(paper)
    judged = paper.judged(measurements.scale)
    parts = Parts()
    verdicts = parts.make("the verdicts", lambda: judge(judged, samples, paper.rule, simulate) if judged else {}) or {}
    rows = []
    for claim in paper.claims:
        if claim.id in verdicts:
            figures = parts.make(f"what was measured for claim {claim.id}", partial(arm_results, claim, samples))
            rows.append(Row(claim, figures or (), verdicts[claim.id]))
        else:
            rows.append(Row(claim, (), NOT_JUDGED))
    return Report(paper, measurements, tuple(rows), measurements.spec_hash != spec_hash(paper), tuple(parts.failed))


def arm_results(claim: Claim, samples: dict[tuple[str, str], Sample]) -> tuple[ArmResult, ...]:
    """Each arm's part in a claim."""
    relation = claim.relation
    result = []
    if isinstance(relation, MostRuns):
        for item in relation.all_of:
            for arm in item.arms:
                sample = samples[(arm, str(item.quantity))]
                result.append(ArmResult(arm, rate(item, sample), len(sample.values)))
        return tuple(result)
    for arm, quantity in relation.uses():
        sample = samples[(arm, str(quantity))]
        if isinstance(relation, Importance):
            result.append(ArmResult(arm, shares(relation, sample), len(sample.values)))
            continue
        if isinstance(relation, MoreOften):
            text = rate(relation, sample)
        elif quantity.kind == "solved":
            text = rate(Condition(quantity=quantity), sample)
        elif isinstance(relation, Within | Similar):
            text = mean(sample)
        else:
            text = median(sample)
        result.append(ArmResult(arm, text if quantity.kind == "solved" else f"{quantity} {text}", len(sample.values)))
    return tuple(result)


def shares(relation: Importance, sample: Sample) -> str:
    """``variance explained: lr 71 %, hidden_size 9 %``; both of ranks."""
    fractions = (
        f"{path.rpartition('.')[2]} {100 * statistics.explained(sample.values, sample.column(path)):.0f} %"
        for path in (relation.of, relation.over)
    )
    return f"{relation.quantity}, variance explained: {', '.join(fractions)}"


def rate(condition: Condition, sample: Sample) -> str:
    """``5 of 5 [48–100 %] with score < 0.1, median 0.02``."""
    met, runs = count(condition, sample)
    interval = intervals.rate_interval(met, runs)
    text = f"{condition.text}: {met} of {runs} [{100 * interval.low:.0f}–{100 * interval.high:.0f} %]"
    return text if condition.quantity.kind == "solved" else f"{text}; median {median(sample)}"


def median(sample: Sample) -> str:
    """``0.02 [0.01–0.05]``, infinity and what is above the budget said in words."""
    interval = intervals.median_interval(sample.values)
    middle = number(averages.median(sample.values), sample)
    low, high = number(interval.low, sample), number(interval.high, sample)
    return middle if low == middle == high else f"{middle} [{low}–{high}]"


def mean(sample: Sample) -> str:
    if not all(map(math.isfinite, sample.values)):
        return f"∞ (of {len(sample.values)} runs, some diverged)"
    interval = intervals.mean_interval(sample.values)
    return f"{averages.fmean(sample.values):.4g} [{interval.low:.4g}–{interval.high:.4g}]"


def number(value: float, sample: Sample) -> str:
    if math.isinf(value):
        return f">{sample.horizon:.0f}" if math.isfinite(sample.horizon) else "∞"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def further(verdict: Verdict) -> str:
    """How many more seeds an inconclusive claim needs, in words."""
    if verdict.reason:
        return verdict.reason
    if verdict.further is None:
        return ""
    if math.isinf(verdict.further):
        return "not even 50 more seeds would settle it, if they came out as these"
    return f"about {verdict.further:.0f} more seeds an arm would settle it, if they came out as these"
