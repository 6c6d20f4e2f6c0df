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
from longlag.papers.relations import Sample, Samples, count
from longlag.papers.spec import PaperSpec, Scale
from longlag.papers.verdict import Circumstance, Verdict, judge, said
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
    effect: str = ""

    @property
    def seeds(self) -> str:
        """How many runs an arm has, ``5`` or ``3–5``; empty for a claim that was not judged."""
        counts = sorted({item.seeds for item in self.arms})
        return "–".join(map(str, (counts[0], counts[-1]) if len(counts) > 1 else counts))


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
    def size(self) -> str:
        return "reduced" if self.scale.reduced else "the paper's own"

    @property
    def data(self) -> str:
        return "substitute" if self.paper.substitute else "original"

    @property
    def circumstance(self) -> Circumstance:
        """What the verdicts are said to hold for; of a reduced size and substitute data the first."""
        if self.scale.reduced:
            return "at reduced size"
        return "on substitute data" if self.paper.substitute else ""

    @property
    def decisions(self) -> dict[str, str]:
        """The verdicts in words, by claim."""
        return {row.claim.id: said(row.verdict.decision, self.circumstance) for row in self.rows}

    @property
    def by_seed(self) -> dict[tuple[str, str], Sample]:
        """By arm and quantity, every run's value of what the judged claims look at."""
        judged = [row.claim for row in self.rows if row.verdict.evidence is not None]
        used = dict.fromkeys((arm, str(quantity)) for claim in judged for arm, quantity in claim.relation.uses())
        samples = self.measurements.samples(self.paper)
        return {key: samples[key] for key in used}


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
            apart = parts.make(f"the effect of claim {claim.id}", partial(effect, claim, samples))
            rows.append(Row(claim, figures or (), verdicts[claim.id], apart or ""))
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
            text = f"mean {mean(sample)}"
        else:
            text = f"median {median(sample)}"
        result.append(ArmResult(arm, text if quantity.kind == "solved" else f"{quantity}: {text}", len(sample.values)))
    return tuple(result)


def effect(claim: Claim, samples: Samples) -> str:
    """Of a claim that two means are alike: by how much they differ, beside the margin; empty for any other."""
    relation = claim.relation
    if not isinstance(relation, Similar):
        return ""
    first, second = (averages.fmean(samples[(arm, str(relation.quantity))].values) for arm in relation.arms)
    found = f"{abs(first - second):.3g}" if math.isfinite(first - second) else "∞"
    why = f": {relation.why}" if relation.why else ""
    return f"The means differ by {found}, the margin is {relation.margin:g}{why}"


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
