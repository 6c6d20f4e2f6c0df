"""Every shipped paper study trains at smoke scale, and what its claims need is measured there."""

from __future__ import annotations

import math

import pytest

from longlag.papers import plan
from longlag.papers.run_values import Curve, value_of
from longlag.papers.spec import load_paper, names
from longlag.spec import load_run
from longlag.training import RunCallback, train


class Scores(RunCallback):
    def __init__(self) -> None:
        self.curve: list[tuple[int, float]] = []

    def evaluated(self, update: int, metrics: object, score: float) -> None:
        self.curve.append((update, score))


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_smoke(name: str) -> None:
    paper = load_paper(name)
    first = {entry.arm: entry for entry in reversed(plan.entries(paper, "smoke", {}))}
    needed = {(arm, q) for claim in paper.claims for arm, q in claim.relation.uses() if arm in first}
    for arm, entry in first.items():
        fields = entry.spec.model_dump(mode="json")
        curves = any(quantity.kind == "gradient" for of, quantity in needed if of == arm)
        fields["probe"]["curves"] = curves
        scores = Scores()
        result = train(load_run(fields), [scores])
        curve: Curve = scores.curve
        assert result.updates == entry.spec.training.updates or result.outcome in ("solved", "diverged")
        for of, quantity in needed:
            if of == arm:
                value = value_of(result, quantity, curve)
                assert isinstance(value, float), quantity
                assert not math.isnan(value) or quantity.kind == "gradient", quantity


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("scale", ["paper", "cpu", "smoke"])
def test_the_sweep_runs_what_the_plan_says(name: str, scale: str) -> None:
    """The study's points give the very runs of the plan: no default is lost on the way."""
    paper = load_paper(name)
    entries = plan.entries(paper, scale, {})  # type: ignore[arg-type]
    study = plan.study(paper, scale, entries)  # type: ignore[arg-type]
    assert sorted(study.arms) == sorted(entry.name for entry in entries)
    for entry in entries[:: max(1, len(entries) // 4)]:
        assert study.run({"arm": entry.name}, 0).run_key == entry.spec.run_key
