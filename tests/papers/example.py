"""A paper study of three tiny arms, and measurements of it that nobody made."""

from __future__ import annotations

from typing import Any

from longlag.papers.measurements import PaperMeasurements, PaperRun, spec_hash
from longlag.papers.spec import PaperSpec, load_paper_fields
from tests.conftest import TINY

CLAIM: dict[str, Any] = {
    "id": "C1",
    "statement": "the LSTM | is better",
    "source": "Table 1",
    "certainty": "recalled",
    "published": "0.1",
    "relation": {"kind": "lower", "order": ["lstm", "rnn"], "quantity": "score"},
}
FIELDS: dict[str, Any] = {
    "name": "example-2000",
    "citation": {"authors": "A and B", "year": 2000, "title": "T", "venue": "V"},
    "summary": "s",
    "base": {**TINY, "probe": {"log_every": 2}},
    "parameter": "lag (steps)",
    "arms": {
        "rnn": {"series": "rnn", "at": 6, "search": {"space": {"optimizer.lr": [1e-3, 1e-2]}}},
        "rnn-8": {"like": "rnn", "series": "rnn", "at": 8, "set": {"task.length": 8}},
        "lstm": {"set": {"cell": "lstm"}},
    },
    "scales": {"paper": {"seeds": 9}, "cpu": {"seeds": 2, "reduced": "all", "meaning": "nothing"}},
    "deviations": [{"what": "It is smaller.", "why": "Time.", "scales": ["cpu"]}],
    "claims": [
        CLAIM,
        {**CLAIM, "id": "C2", "certainty": "read", "relation": {"kind": "most-runs", "all_of": [
            {"arms": ["rnn"], "quantity": "updates to score 0.5", "below": 3}]}},
        {**CLAIM, "id": "C3", "scales": ["paper"]},
    ],
}  # fmt: skip


def paper() -> PaperSpec:
    return load_paper_fields(FIELDS, "example")


def measured(seeds: int = 5) -> PaperMeasurements:
    """The LSTM is better in every run, and the rnn is never soon."""
    runs = []
    for arm, score in (("rnn", 0.9), ("rnn-8", 1.0), ("lstm", 0.1)):
        for seed in range(seeds):
            last = score + seed / 100
            runs.append(
                PaperRun(
                    arm=arm, seed=seed, run_key=f"{arm}{seed}", outcome="budget", updates=40, budget=40,
                    solved_at=40 if arm == "lstm" else None,
                    values={"score": last, "updates to score 0.5": 40.0 if arm == "lstm" else float("inf")},
                    gradient={"initial_horizon": 3.0}, parameters=33, seconds=1.5,
                    curve=[(10, 1.2), (20, 1.1), (40, last)],
                )
            )  # fmt: skip
    flow = {arm: {"before": [(0, 1.0), (5, 0.1)], "after": [(0, 1.0), (5, 0.5)]} for arm in ("rnn", "rnn-8", "lstm")}
    return PaperMeasurements(
        paper="example-2000", scale="cpu", spec_hash=spec_hash(paper()), date="2026-01-01 00:00 UTC", seconds=22.5,
        environment={"torch": "2"}, flow=flow, runs=runs,
    )  # fmt: skip
