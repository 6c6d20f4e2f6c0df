"""Verdicts: what gives which, and their error rates on results with a known truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from benchmarks import verdicts as simulated
from longlag.papers.relations import Sample
from longlag.papers.spec import Rule
from longlag.papers.verdict import Verdict, decide, judge

RULE = Rule()


def verdict(relation: Mapping[str, Any], samples: Mapping[str, Sequence[float]], budget: float = math.inf) -> Verdict:
    claim = simulated.claim(relation, "C")
    drawn = {(arm, str(q)): Sample(tuple(samples[arm]), budget) for arm, q in claim.relation.uses()}
    return judge([claim], drawn, RULE)["C"]


def test_decide() -> None:
    assert decide(0.05, 1.0, 0.05) == "reproduced" and decide(1.0, 0.05, 0.05) == "not reproduced"
    assert decide(0.051, 1.0, 0.05) == "inconclusive" and decide(0.01, 0.01, 0.05) == "inconclusive"


def test_five_of_five() -> None:
    assert verdict(simulated.most(), {"a": [1] * 5}).decision == "reproduced"
    assert verdict(simulated.most(), {"a": [0] * 5}).decision == "not reproduced"
    between = verdict(simulated.most(), {"a": [1, 1, 1, 0, 0]})
    assert between.decision == "inconclusive" and between.further and between.further >= 5


def test_diverged_and_unsolved_runs_count() -> None:
    """An arm that is better when it does not diverge, and diverges mostly, is not the better one."""
    samples = {"a": [0.01, math.inf, math.inf, math.inf, math.inf], "b": [0.2, 0.2, 0.3, 0.3, 0.1]}
    assert verdict(simulated.LOWER, samples).decision != "reproduced"
    soon: dict[str, list[float]] = {"a": [100, 200, 300, 100, 200], "b": [math.inf] * 5}
    assert verdict(simulated.FASTER, soon, 2000).decision == "reproduced"
    swapped: dict[str, list[float]] = {"a": soon["b"], "b": soon["a"]}
    assert verdict(simulated.FASTER, swapped, 2000).decision == "not reproduced"


def test_a_number_that_is_none_decides_nothing() -> None:
    samples = {"a": [0.1, 0.2, math.nan, 0.1, 0.2], "b": [9.0] * 5}
    found = verdict(simulated.LOWER, samples)
    assert (
        found.decision == "inconclusive" and found.evidence and "some runs have no such number" in found.evidence.test
    )
    assert verdict(simulated.most(), {"a": [math.nan] * 5}).decision != "reproduced"


def test_an_order_holds_when_every_pair_does() -> None:
    low, middle, high = ([base + step / 10 for step in range(5)] for base in (0, 1, 2))
    assert verdict(simulated.CHAIN, {"a": low, "b": middle, "c": high}).decision == "reproduced"
    assert verdict(simulated.CHAIN, {"a": low, "b": high, "c": high}).decision == "inconclusive"
    assert verdict(simulated.CHAIN, {"a": low, "b": high, "c": middle}).decision == "not reproduced"


def test_holm_over_the_claims_of_a_study() -> None:
    """Four of five is p = 0.045 alone, and not enough beside a second claim."""
    claims = [simulated.claim(simulated.most(), name) for name in ("C1", "C2")]
    samples = {("a", "solved"): Sample((1, 1, 1, 1, 0))}
    assert judge(claims[:1], samples, RULE)["C1"].decision == "reproduced"
    assert {v.decision for v in judge(claims, samples, RULE).values()} == {"inconclusive"}


@pytest.mark.slow
@pytest.mark.parametrize("case", simulated.CASES, ids=lambda case: case.name)
def test_error_rates(case: simulated.Case) -> None:
    """At most alpha, but for three standard errors of so few studies; `python -m benchmarks.verdicts` draws more."""
    repeats = 200
    for seeds in (3, 5):
        wrong = simulated.false(case, *simulated.rates([case], seeds, repeats, RULE))
        assert wrong <= RULE.alpha + 3 * math.sqrt(RULE.alpha * (1 - RULE.alpha) / repeats)


def test_power_with_five_seeds() -> None:
    """Clear cases are decided: a rule that never says anything would keep its error rates too."""
    cases = {case.name: case for case in simulated.CASES}
    for name in ("solved by 0.98 of runs", "scores lower by 3 sd", "never against soon", "means equal"):
        reproduced, _ = simulated.rates([cases[name]], 5, 100, RULE)
        assert reproduced > 0.9, name
    _, against = simulated.rates([cases["scores higher by 3 sd"]], 5, 100, RULE)
    assert against > 0.9


def test_family() -> None:
    case = next(case for case in simulated.CASES if case.name == "scores equal")
    reproduced, against = simulated.rates([case] * 4, 5, 200, RULE)
    assert max(reproduced, against) <= RULE.alpha + 3 * math.sqrt(RULE.alpha * (1 - RULE.alpha) / 200)
