"""One definition of a solved run, wherever a user reads it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from longlag import objectives
from longlag.analysis import correlation, pictures
from longlag.analysis.result import StudyResult, TrialResult
from longlag.cli import display
from longlag.horizons.measurements import HorizonRun
from longlag.papers import compare, quantity, report_markdown, run_values
from longlag.papers.measurements import _run
from longlag.papers.plan import Entry
from longlag.spec import StudySpec, load_run
from longlag.study.report import summary
from longlag.tracking import describe
from longlag.training import RunResult, train
from tests.conftest import TINY

BUDGET = 4


def ended(outcome: str, solved_at: int | None) -> RunResult:
    return RunResult(
        spec=load_run({**TINY, "training": {**TINY["training"], "stop_when_solved": False}}),
        run_key="k", outcome=outcome, reason="", updates=4, solved_at=solved_at, validation={"mse": 0.001},
        validation_score=math.inf if outcome == "diverged" else 0.006, test={"mse": 0.001}, baseline=1 / 6,
        score=math.nan if outcome == "diverged" else 0.006, parameters=1, wall_seconds=1.0, cpu_seconds=1.0,
        gradient={}, environment={},
    )  # fmt: skip


SOLVED, BEYOND = ended("solved", 2), ended("budget", None)
LOST = ended("diverged", 2)
"""It met the criterion at update 2, trained on and diverged."""


def study(run: RunResult) -> StudyResult:
    trial = TrialResult(
        number=0, point={"cell": "rnn"}, state="complete", objective=0.1, reason="", runs=(run,), run_ids=("r",)
    )
    spec = StudySpec(name="s", base=TINY, space={"cell": ["rnn"]}, sampler={"name": "grid"})
    return StudyResult(spec=spec, trials=(trial,), total=1, experiment="1", tracking_uri="-")


def paper_record(run: RunResult) -> Any:
    return _run(Entry("arm", 0, run.spec, {}), run, [], {})


PLACES = {
    "result": lambda run: run.solved,
    "summary of a study": lambda run: summary(study(run))["runs/solved"] == 1,
    "table of a study": lambda run: display.solved_at([run]) == "2",
    "objective": lambda run: objectives.objective_value("updates_to_solved", run) == 2,
    "rank correlation": lambda run: correlation.outcome(run, "solved") == 1,
    "picture of a study": lambda run: "1 solved" in pictures.legend(
        "lstm", [pictures.Seed(run, "total", None, None, {})]  # type: ignore[arg-type]
    ),
    "claim of a paper": lambda run: run_values.value_of(run, quantity.parse("solved"), []) == 1,
    "updates of a claim": lambda run: math.isfinite(run_values.value_of(run, quantity.parse("updates to solved"), [])),
    "report of a paper": lambda run: report_markdown.solved([paper_record(run)]) == "1 of 1, at update 2",
    "comparison": lambda run: compare.compare(study(run), study(run))[0].first.solved == 1,
    "horizon study": lambda run: HorizonRun.of(run, "counted", 6).solved,
    "tracking": lambda run: "solved_at" in describe.final(run),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_diverged_after_it_met_the_criterion_is_unsolved_everywhere(place: str) -> None:
    asks = PLACES[place]
    assert (asks(SOLVED), asks(BEYOND), asks(LOST)) == (True, False, False)


def test_a_run_whose_learning_rate_explodes_late_is_such_a_run() -> None:
    """Trained for real: a learnable task, then a warm-up that goes too far."""

    spec = load_run({
        **TINY,
        "task": {"name": "adding", "length": 6, "solved_mse": 10.0},
        "cell": {"name": "rnn", "activation": "linear"},
        "optimizer": {"name": "sgd", "lr": 10.0},
        "clip": {},
        "training": {"batch_size": 4, "updates": 200, "eval_every": 1, "stop_when_solved": False},
        "schedule": {"name": "linear", "warmup": 100},
    })  # fmt: skip
    result = train(spec, [])
    assert result.outcome == "diverged" and result.solved_at is not None
    assert not result.solved and result.updates_to_solved == math.inf == result.validation_score
    assert result.validation, "its last evaluation is kept"


def test_the_validation_score_is_the_tasks_own_of_the_last_evaluation() -> None:
    result = train(load_run(TINY), [])
    assert result.validation_score == result.spec.task.build().score(result.validation)
    assert RunResult.model_validate_json(result.model_dump_json()) == result
