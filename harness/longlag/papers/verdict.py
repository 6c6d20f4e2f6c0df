"""Verdicts: *reproduced*, *not reproduced*, *inconclusive*, each false one of the first two with a bounded chance.

Over all claims of a study judged at a scale: if the claims' opposites were true, the chance that any of them is called
reproduced is at most alpha; if the claims were true, the chance that any is called not reproduced is at most alpha.
Both by Holm's correction, whatever the claims have in common. What is neither is inconclusive, and so is what is both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from longlag.papers.claims import Claim, Relation
from longlag.papers.relations import Evidence, Sample, Samples, weigh
from longlag.papers.spec import Rule
from longlag.papers.statistics import holm

Decision = Literal["reproduced", "not reproduced", "inconclusive", "not judged"]

Circumstance = Literal["", "at reduced size", "on substitute data"]
"""What sets a study at a scale apart from the paper; empty where it has the paper's own size and data."""


def said(decision: Decision, circumstance: Circumstance) -> str:
    """The decision in words: only at the paper's own size, on its own data, is a claim (not) *reproduced*."""
    if not circumstance or decision not in ("reproduced", "not reproduced"):
        return decision
    return f"{'holds' if decision == 'reproduced' else 'does not hold'} {circumstance}"


FURTHER = (1, 2, 3, 5, 8, 12, 20, 30, 50)
"""Numbers of further seeds that are tried out."""
SIMULATIONS = 100


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Args:
        decision: one of the four.
        evidence: None for a claim that was not judged.
        for_, against: the p-values after Holm's correction over the study's claims.
        reason: in a few words, where it needs some.
        further: seeds more an arm with which a verdict would be likely, if they came out as those so far; None where
            that is not asked, infinity where not even fifty would do.
    """

    decision: Decision
    evidence: Evidence | None = None
    for_: float = 1.0
    against: float = 1.0
    reason: str = ""
    further: float | None = None


def decide(for_: float, against: float, alpha: float) -> Decision:
    """The verdict that two corrected p-values give."""
    if for_ <= alpha < against:
        return "reproduced"
    if against <= alpha < for_:
        return "not reproduced"
    return "inconclusive"


def judge(claims: Sequence[Claim], samples: Samples, rule: Rule, simulate: bool = True) -> dict[str, Verdict]:
    """The verdicts on claims by id; `samples` holds what all of them use.

    `simulate` says whether to find how many further seeds an inconclusive claim needs.
    """
    weighed = [weigh(claim.relation, samples) for claim in claims]
    for_, against = holm([e.for_ for e in weighed]), holm([e.against for e in weighed])
    verdicts = {}
    for claim, evidence, p_for, p_against in zip(claims, weighed, for_, against, strict=True):
        decision = decide(p_for, p_against, rule.alpha)
        reason, further = "", None
        if decision == "inconclusive":
            if p_for <= rule.alpha:
                reason = "both the claim and its opposite are rejected: the truth lies between them"
            elif simulate:
                further = more_seeds(claim.relation, samples, rule, len(claims))
        verdicts[claim.id] = Verdict(decision, evidence, p_for, p_against, reason, further)
    return verdicts


def more_seeds(relation: Relation, samples: Samples, rule: Rule, claims: int) -> float:
    """Further seeds an arm that would bring a verdict with a chance of at least `rule.power`.

    By simulation: new runs are drawn, with replacement, from those so far, which is as much as is known of them; with
    three or five runs that is little, and the number is a hint. The strictest of Holm's levels is asked for.
    """
    rng = np.random.default_rng(0)
    level = rule.alpha / claims
    used = [(arm, str(quantity)) for arm, quantity in relation.uses()]
    for number in FURTHER:
        decided = 0
        for simulation in range(SIMULATIONS):
            drawn = {key: _grown(samples[key], number, rng) for key in used}
            evidence = weigh(relation, drawn)
            decided += decide(evidence.for_, evidence.against, level) != "inconclusive"
            if decided >= rule.power * SIMULATIONS:
                return number
            if decided + SIMULATIONS - simulation - 1 < rule.power * SIMULATIONS:
                break  # it cannot be reached any more
    return float("inf")


def _grown(sample: Sample, number: int, rng: np.random.Generator) -> Sample:
    more = rng.integers(0, len(sample.values), number).tolist()
    drawn = sample.drawn and (*sample.drawn, *(sample.drawn[i] for i in more))
    return Sample((*sample.values, *(sample.values[i] for i in more)), sample.horizon, drawn)
