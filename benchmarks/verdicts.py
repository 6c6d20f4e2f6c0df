"""Do the verdicts keep their error rates? ``python -m benchmarks.verdicts``.

Results are drawn from a known truth, at the boundary between a relation and its opposite and away from it, and judged
as a study's claims are. A line is one truth:

    truth          what the runs are drawn from
    claim          whether the relation holds there: no, yes, "edge" where it is neither and both verdicts are false, or
                   "between" a claim and its opposite that are apart: there neither verdict is false; "spread":
                   equal middles and unequal spreads, which the tests by ranks do not allow for: shown, not bounded
    reproduced     how often, in per cent, with 3, 5 and 10 seeds (of parameters four times as many draws)
    not            how often it is called not reproduced
    bound          at most alpha for every false verdict; "!" marks a rate above it by more than three standard errors

``family`` judges several claims at once: what counts there is any false verdict among them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from longlag.papers.claims import Claim, Relation
from longlag.papers.relations import Sample
from longlag.papers.spec import Rule
from longlag.papers.verdict import judge

SEEDS = (3, 5, 10)
Draw = Callable[[np.random.Generator, int], Sequence[float]]
Truth = Literal["no", "yes", "edge", "between", "spread"]


@dataclass(frozen=True)
class Case:
    """One truth: what each arm's runs are drawn from, and whether the relation holds.

    `effect` makes a run's value of two drawn parameters in [0, 1) and noise instead.
    """

    name: str
    relation: dict[str, Any]
    arms: dict[str, Draw]
    claim: Truth
    budget: float = math.inf
    effect: Callable[[Any, Any, Any], Any] | None = None


def yes(rate: float) -> Draw:
    return lambda rng, n: (rng.random(n) < rate).astype(float).tolist()


def normal(mean: float, sd: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, sd, n).tolist()


def heavy(mean: float, diverged: float) -> Draw:
    """Lognormal scores, some of them of runs that diverged."""

    def draw(rng: np.random.Generator, n: int) -> list[float]:
        scores = np.exp(rng.normal(mean, 1.0, n))
        found: list[float] = np.where(rng.random(n) < diverged, np.inf, scores).tolist()
        return found

    return draw


def times(mean: float, budget: float, step: float = 100.0) -> Draw:
    """Exponential times, seen at evaluations only, and not beyond the budget."""

    def draw(rng: np.random.Generator, n: int) -> list[float]:
        seen = np.ceil(rng.exponential(mean, n) / step) * step
        found: list[float] = np.where(seen > budget, np.inf, seen).tolist()
        return found

    return draw


def most(arms: Sequence[str] = ("a",)) -> dict[str, Any]:
    return {"kind": "most-runs", "all_of": [{"arms": list(arms), "quantity": "solved"}]}


LOWER = {"kind": "lower", "order": ["a", "b"], "quantity": "score"}
CHAIN = {"kind": "lower", "order": ["a", "b", "c"], "quantity": "score"}
FASTER = {"kind": "lower", "order": ["a", "b"], "quantity": "updates to solved"}
FOURFOLD = {**FASTER, "factor": 4}
OFTEN = {"kind": "more-often", "arm": "a", "than": "b", "quantity": "solved"}
WITHIN = {"kind": "within", "arm": "a", "quantity": "score", "low": -1, "high": 1}
SIMILAR = {"kind": "similar", "arms": ["a", "b"], "quantity": "score", "margin": 1}
RISES = {"kind": "trend", "arms": ["a", "b", "c"], "quantity": "solved", "direction": "rises"}

MATTERS = {"kind": "importance", "arm": "a", "quantity": "score", "of": "x", "over": "y"}

CASES = [
    Case("solved by 1/3 of runs", most(), {"a": yes(1 / 3)}, "no"),
    Case("solved by 2/3 of runs", most(), {"a": yes(2 / 3)}, "yes"),
    Case("solved by 1/2 of runs", most(), {"a": yes(0.5)}, "between"),
    Case("solved by 0.98 of runs", most(), {"a": yes(0.98)}, "yes"),
    Case("solved by 0.02 of runs", most(), {"a": yes(0.02)}, "no"),
    Case("two arms, 0.98 and 1/3", most("ab"), {"a": yes(0.98), "b": yes(1 / 3)}, "no"),
    Case("two arms, both 2/3", most("ab"), {"a": yes(2 / 3), "b": yes(2 / 3)}, "yes"),
    Case("scores equal", LOWER, {"a": normal(0), "b": normal(0)}, "edge"),
    Case("scores equal, heavy tails, 1 in 5 diverges", LOWER, {"a": heavy(0, 0.2), "b": heavy(0, 0.2)}, "edge"),
    Case("scores equal, spreads 1 to 10", LOWER, {"a": normal(0), "b": normal(0, 10)}, "spread"),
    Case("scores lower by 3 sd", LOWER, {"a": normal(0), "b": normal(3)}, "yes"),
    Case("scores higher by 3 sd", LOWER, {"a": normal(3), "b": normal(0)}, "no"),
    Case("chain, second pair equal", CHAIN, {"a": normal(0), "b": normal(5), "c": normal(5)}, "edge"),
    Case("times equal, budget as the mean", FASTER, {"a": times(1e3, 1e3), "b": times(1e3, 1e3)}, "edge", 1e3),
    Case("times fourfold, budgets equal", FOURFOLD, {"a": times(1e3, 4e3), "b": times(4e3, 4e3)}, "edge", 4e3),
    Case("never against soon", FASTER, {"a": times(300, 2e3), "b": times(1e9, 2e3)}, "yes", 2e3),
    Case("rates equal, 1/2", OFTEN, {"a": yes(0.5), "b": yes(0.5)}, "edge"),
    Case("rates 0.95 and 0.05", OFTEN, {"a": yes(0.95), "b": yes(0.05)}, "yes"),
    Case("mean on the interval's end", WITHIN, {"a": normal(1, 0.3)}, "edge"),
    Case("mean in its middle", WITHIN, {"a": normal(0, 0.3)}, "yes"),
    Case("means apart by the margin", SIMILAR, {"a": normal(0, 0.3), "b": normal(1, 0.3)}, "edge"),
    Case("means equal", SIMILAR, {"a": normal(0, 0.3), "b": normal(0, 0.3)}, "yes"),
    Case("no trend", RISES, {"a": yes(0.5), "b": yes(0.5), "c": yes(0.5)}, "edge"),
    Case("two parameters, alike", MATTERS, {"a": normal(0)}, "edge", effect=lambda x, y, e: x + y + 0.3 * e),
    Case("two parameters, neither matters", MATTERS, {"a": normal(0)}, "edge", effect=lambda x, y, e: e),
    Case("the first alone, a valley", MATTERS, {"a": normal(0)}, "yes", effect=lambda x, y, e: (x - 0.4) ** 2 + e / 50),
    Case("a trend 0.05, 0.5, 0.95", RISES, {"a": yes(0.05), "b": yes(0.5), "c": yes(0.95)}, "yes"),
]


def claim(relation: Mapping[str, Any], identifier: str) -> Claim:
    return Claim(
        id=identifier, statement="-", source="-", certainty="read", published="-",
        relation=TypeAdapter(Relation).validate_python(relation),
    )  # fmt: skip


def rates(cases: Sequence[Case], seeds: int, repeats: int, rule: Rule) -> tuple[float, float]:
    """How often any of the claims is called reproduced, and any not reproduced, over repeated studies."""
    rng = np.random.default_rng(seeds)
    claims = [claim(case.relation, f"C{index}") for index, case in enumerate(cases)]
    reproduced = against = 0
    for _ in range(repeats):
        decisions = set()
        samples: dict[tuple[str, str], Sample] = {}
        renamed = []
        for index, (case, of) in enumerate(zip(cases, claims, strict=True)):
            rename = {arm: f"{arm}{index}" for arm in case.arms}
            renamed.append(_renamed(of, case, rename))
            for arm, draw in case.arms.items():
                quantity = next(str(q) for name, q in of.relation.uses() if name == arm)
                samples[(rename[arm], quantity)] = _sample(case, draw, rng, seeds)
        for verdict in judge(renamed, samples, rule, simulate=False).values():
            decisions.add(verdict.decision)
        reproduced += "reproduced" in decisions
        against += "not reproduced" in decisions
    return reproduced / repeats, against / repeats


def _sample(case: Case, draw: Draw, rng: np.random.Generator, seeds: int) -> Sample:
    values = draw(rng, seeds)
    if case.effect is None:
        return Sample(tuple(values), case.budget)
    seeds *= 4  # a random search has more runs than an arm has seeds
    x, y, noise = rng.random(seeds), rng.random(seeds), rng.normal(size=seeds)
    drawn = tuple({"x": float(a), "y": float(b)} for a, b in zip(x, y, strict=True))
    return Sample(tuple(case.effect(x, y, noise).tolist()), case.budget, drawn)


WITHOUT_ARMS = ("kind", "quantity", "of", "over")
"""Fields of a relation that name no arm."""


def _renamed(of: Claim, case: Case, rename: dict[str, str]) -> Claim:
    """The claim with arms of its own, so that claims of one family do not share runs."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key in WITHOUT_ARMS else renamed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return rename.get(value, value) if isinstance(value, str) else value

    return claim(renamed(case.relation), of.id)


def false(case: Case, reproduced: float, against: float) -> float:
    """The rate of the verdicts that are false under this truth; the larger one where both are."""
    wrong = {"no": reproduced, "yes": against, "edge": max(reproduced, against)}
    return wrong.get(case.claim, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=2000, help="studies drawn for each line")
    repeats = parser.parse_args().repeats
    rule = Rule()
    print(f"{'truth':46}{'claim':>8}" + "".join(f"{f'{n} seeds':>16}" for n in SEEDS))
    families = [("family: six at rate 1/3", [CASES[0]] * 6), ("family: six pairs of equal scores", [CASES[7]] * 6)]
    worst = 0.0
    for name, cases in [(case.name, [case]) for case in CASES] + families:
        cells = []
        for n in SEEDS:
            reproduced, against = rates(cases, n, repeats, rule)
            wrong = false(cases[0], reproduced, against)
            worst = max(worst, wrong)
            limit = rule.alpha + 3 * math.sqrt(rule.alpha * (1 - rule.alpha) / repeats)
            cells.append(f"{100 * reproduced:6.1f} /{100 * against:5.1f}{'!' if wrong > limit else ' '}")
        print(f"{name:46}{cases[0].claim:>8}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    print(f"reproduced / not reproduced, per cent of {repeats} studies; alpha {100 * rule.alpha:g} %; "
          f"largest rate of a false verdict {100 * worst:.1f} %")  # fmt: skip


if __name__ == "__main__":
    main()
