"""Two studies side by side."""

from __future__ import annotations

import json
import math
from typing import Any

from longlag.analysis.result import StudyResult, TrialResult
from longlag.papers import compare
from longlag.spec import StudySpec, load_run
from longlag.training import RunResult
from tests.conftest import TINY


def result(seed: int, score: float, solved: int | None, outcome: str = "budget") -> RunResult:
    spec = load_run({**TINY, "seed": seed})
    return RunResult(
        spec=spec, run_key="k", outcome=outcome, reason="", updates=4, solved_at=solved, validation={},
        validation_score=math.inf, test={}, baseline=1.0, score=score, parameters=1, wall_seconds=1.0,
        cpu_seconds=1.0, gradient={}, environment={},
    )  # fmt: skip


def study(name: str, points: dict[str, list[RunResult]]) -> StudyResult:
    trials = tuple(
        TrialResult(
            number=number, point={"cell": cell}, state="complete", objective=0.1, reason="", runs=tuple(runs),
            run_ids=(),
        )
        for number, (cell, runs) in enumerate(points.items())
    )  # fmt: skip
    spec = StudySpec(name=name, base=TINY, space={"cell": list(points)}, sampler={"name": "grid"})
    return StudyResult(spec=spec, trials=trials, total=len(trials), experiment="1", tracking_uri="-")


GOOD = [result(seed, 0.1 + seed / 100, 2) for seed in range(5)]
BAD = [result(seed, 0.9 + seed / 100, None) for seed in range(4)] + [result(4, math.nan, None, "diverged")]


def test_shared_points() -> None:
    """Five good runs against five of which one diverged: two-sided p = 2/252, in both tests."""
    (only,) = compare.compare(study("a", {"rnn": GOOD, "gru": GOOD}), study("b", {"rnn": BAD, "lstm": BAD}))
    assert only.point == "cell rnn" and only.p_score == 2 / 252 == only.p_updates
    assert (only.first.solved, only.second.solved, only.second.runs) == (5, 0, 5)
    assert only.second.score.endswith("–∞]") and only.second.updates == ">4"


def test_the_best_of_each_where_no_point_is_shared() -> None:
    (only,) = compare.compare(study("a", {"rnn": GOOD}), study("b", {"lstm": GOOD}))
    assert only.point == "best: cell rnn / cell lstm" and only.p_score == 1.0


def test_command(longlag: Any, tiny_options: list[str]) -> None:
    for name, seeds in (("one", "0,1"), ("other", "2,3")):
        options = ["--cell", "rnn,lstm", "--seeds", seeds, "--name", name, "--workers", "1", *tiny_options]
        assert longlag("sweep", "adding", *options).code == 0
    shown = longlag("report", "one", "--compare", "other")
    assert shown.code == 0 and "cell lstm" in shown.out and "0 of 2" in shown.out
    told = json.loads(longlag("report", "one", "--compare", "other", "--json").out)
    assert told["studies"] == ["one", "other"] and len(told["points"]) == 2
    missing = longlag("report", "one", "--compare", "othr")
    assert missing.code == 2 and "did you mean 'other'" in missing.err
