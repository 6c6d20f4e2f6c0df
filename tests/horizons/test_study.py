"""The study: which runs are made and that it does not depend on who is first; the rule for the learning rate."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from longlag.errors import UserError
from longlag.horizons import chart, page
from longlag.horizons.correlation import agreement
from longlag.horizons.measurements import CellMeasurements, HorizonMeasurements, HorizonRun, read
from longlag.horizons.spec import CLIMBING_SEED, GRADIENT_SEEDS, HorizonSpec, load_horizon
from longlag.horizons.study import chosen, search
from longlag.parts import Parts
from longlag.spec import RunSpec
from longlag.study.generators import GeneratorSearch
from longlag.training import RunResult
from longlag.workers.requests import Execution, RunRequest

FIELDS: dict[str, Any] = {
    "name": "simulated",
    "base": {"task": "adding", "training": {"updates": 100, "eval_every": 10}},
    "cells": ["rnn", "lstm", "gru"],
    "parameters": 500,
    "runs": 10,
}
TRUTH = {"rnn": 4.0, "lstm": 60.0, "gru": 5000.0, "mgu": 25.0, "irnn": 150.0}
BEST = 1e-2


def pretend(spec: RunSpec) -> RunResult:
    """A cell with a known T50 at its best learning rate and a third of it at the others."""
    lag, cell = spec.task.options["length"], spec.cell.name
    half = TRUTH[cell] if spec.optimizer.lr == BEST else TRUTH[cell] / 3
    draw = random.Random(f"{cell} {lag} {spec.seed}").random()
    solved = draw < 1 / (1 + (lag / half) ** 5) and spec.training.updates > 1
    reach = {"initial_horizon": min(lag, TRUTH[cell] / 2), "initial_steps": float(lag)}
    return RunResult(
        spec=spec,
        run_key=spec.run_key,
        outcome="solved" if solved else "budget",
        reason="",
        updates=50 if solved else spec.training.updates,
        solved_at=50 if solved else None,
        validation={"mse": 0.001 if solved else 0.1},
        validation_score=0.006 if solved else 0.6,
        test=None,
        baseline=1 / 6,
        score=math.nan,
        parameters=500,
        wall_seconds=2.0,
        cpu_seconds=1.0,
        gradient=reach,
        environment={"torch": "0"},
    )


def found(spec: HorizonSpec, seed: int = 0) -> tuple[list[CellMeasurements], list[RunRequest]]:
    """What is found by four workers whose runs end in an order drawn from `seed`; and what was asked for."""
    draw = random.Random(seed)
    searches = GeneratorSearch([search(spec, name, cell) for name, cell in spec.labelled.items()])
    asked: list[RunRequest] = []
    running: dict[int, RunRequest] = {}
    while not searches.finished():
        for slot in range(4):
            request = None if slot in running else searches.ask(slot)
            if request is not None:
                running[slot] = request
                asked.append(request)
        slot = draw.choice(sorted(running))
        searches.tell(slot, Execution(pretend(running.pop(slot).spec), "", "", trained=True))
    return [cell for cell, _ in searches.values], asked


def measured(**changes: Any) -> HorizonMeasurements:
    spec = load_horizon({**FIELDS, **changes})
    return HorizonMeasurements(
        spec=spec,
        identity=spec.identity(),
        criterion="mse below 0.005",
        task_version=1,
        method={
            "lapse": 0.02,
            "margin": 4.0,
            "spreads": [0.05, 0.8],
            "level": 0.95,
            "together": 2,
            "climbing_seed": CLIMBING_SEED,
        },
        environment={"torch": ["0"]},
        cells=tuple(found(spec)[0]),
    )


def test_the_order_in_which_runs_finish_changes_nothing() -> None:
    spec = load_horizon(FIELDS)
    one = found(spec, 0)[0]
    assert all(found(spec, seed)[0] == one for seed in range(1, 6))


def test_every_cell_comes_to_its_t50_and_its_learning_rate() -> None:
    measurements = measured(runs=24)
    fits = {cell.cell: fit for cell, fit in measurements.by_horizon()}
    assert [cell.cell for cell, _ in measurements.by_horizon()] == ["gru", "lstm", "rnn"]
    lstm = fits["lstm"]
    assert lstm.low is not None and lstm.high is not None and lstm.low < 60 < lstm.high
    assert fits["gru"].median is None and fits["gru"].above > 0.9
    assert fits["rnn"].median is None and fits["rnn"].below > 0.9
    assert {cell.cell: cell.rate for cell in measurements.cells}["lstm"] == BEST


def test_every_counted_run_has_a_seed_of_its_own_and_every_run_the_same_size() -> None:
    cells, asked = found(load_horizon(FIELDS))
    for cell in cells:
        assert [run.seed for run in cell.counted] == list(range(10))
        assert {run.seed for run in cell.of_phase("rate")} == {CLIMBING_SEED}
        assert [run.seed for run in cell.of_phase("gradient")] == list(GRADIENT_SEEDS)
    assert len({request.spec.run_key for request in asked}) == len(asked)
    sizes = {(request.spec.cell.name, request.spec.model.hidden_size) for request in asked}
    assert sizes == {(cell.cell, cell.hidden_size) for cell in cells}
    assert all(abs(cell.parameters - 500) < 60 for cell in cells)


def test_more_runs_begin_with_the_runs_of_fewer() -> None:
    few, many = (found(load_horizon({**FIELDS, "runs": runs}))[0] for runs in (7, 12))
    for shorter, longer in zip(few, many, strict=True):
        # the last of an odd number is asked for by itself
        assert longer.runs[: len(shorter.runs) - 1] == shorter.runs[:-1]
        assert longer.counted[6] == shorter.counted[6]


def test_cells_do_not_depend_on_one_another() -> None:
    alone = found(load_horizon({**FIELDS, "cells": ["lstm"]}))[0]
    assert alone[0] == found(load_horizon(FIELDS))[0][1]


def climb(rate: float, lag: int, solved: bool, score: float = 1.0, updates: int = 100) -> HorizonRun:
    outcome = "solved" if solved else "diverged" if math.isinf(score) else "budget"
    at = updates if solved else None
    return HorizonRun(
        phase="rate",
        lag=lag,
        rate=rate,
        seed=0,
        run_key="",
        outcome=outcome,
        updates=updates,
        solved_at=at,
        score=score,
        cpu_seconds=1,
        wall_seconds=1,
    )


@pytest.mark.parametrize(
    ("runs", "rate"),
    [
        (
            [climb(1, 10, True), climb(1, 20, False, 0.1), climb(2, 10, True), climb(2, 20, True), climb(2, 40, False)],
            2,
        ),
        ([climb(1, 10, False, 0.5), climb(2, 10, False, 0.4)], 2),
        ([climb(1, 10, False, 0.9), climb(2, 10, False, math.inf)], 1),
        ([climb(1, 10, True, updates=90), climb(2, 10, True, updates=60)], 2),
        ([climb(2, 10, True), climb(1, 10, True)], 1),
    ],
    ids=["climbs higher", "lower score", "diverged", "fewer updates", "smaller"],
)
def test_the_rule_for_the_learning_rate(runs: list[HorizonRun], rate: float) -> None:
    assert chosen(runs) == rate


def test_a_run_that_diverged_after_it_had_solved_does_not_count_as_solved() -> None:
    result = pretend(load_horizon(FIELDS).run("lstm", 10, BEST, 3))
    assert result.solved_at is not None
    assert HorizonRun.of(result, "counted", 10).solved
    assert not HorizonRun.of(result.model_copy(update={"outcome": "diverged"}), "counted", 10).solved


def test_the_ladder_doubles_and_ends_at_the_longest() -> None:
    assert load_horizon({**FIELDS, "longest": 90}).ladder() == [10, 20, 40, 80, 90]
    assert load_horizon({**FIELDS, "longest": 80}).ladder() == [10, 20, 40, 80]


def test_identity_knows_the_budget_but_not_the_cells_and_runs() -> None:
    spec = load_horizon(FIELDS)
    assert load_horizon({**FIELDS, "cells": ["gru", "mgu"], "runs": 3}).identity() != ""
    same = {**FIELDS, "cells": ["gru", "rnn"], "runs": 3, "name": "other"}
    assert load_horizon(same).identity() == spec.identity()
    for change in ({"parameters": 600}, {"longest": 400}, {"rates": [1e-2]}):
        assert load_horizon({**FIELDS, **change}).identity() != spec.identity()
    longer = {"task": "adding", "training": {"updates": 101, "eval_every": 10}}
    assert load_horizon({**FIELDS, "base": longer}).identity() != spec.identity()


def test_what_a_study_leaves_out_has_defaults_and_its_name_follows_from_the_rest() -> None:
    short = load_horizon({"base": {"task": "adding", "clip": {"norm": 2}}, "cells": ["lstm"]})
    other = load_horizon({"base": {"task": "adding", "clip": {"norm": 2}}, "cells": ["gru"], "runs": 3})
    assert short.name == other.name == f"horizon-adding-{short.identity()[:8]}"
    run = short.run("lstm", 10, 0.01, 0)
    assert (run.training.updates, run.training.batch_size, run.clip.norm, run.data.validation) == (1500, 20, 2, 500)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": 5}, "base should hold the fields of a run"),
        ({"longest": 10}, "longest .10. should be above shortest"),
        ({"lag": "task.lenght"}, "did you mean 'length'"),
        ({"lag": "model.depth"}, "lag"),
        ({"cells": ["lstm", "lstm"]}, "stands twice"),
        ({"cells": ["lsmt"]}, "did you mean 'lstm'"),
        ({"cells": []}, "cells"),
        ({"rates": [0.1, 0.1]}, "rates stand twice"),
        ({"base": {"task": "adding", "seed": 3}}, "chooses it"),
        ({"shortest": 1}, "length should be at least 2"),
        ({"parameter": 3}, "did you mean 'parameters'"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_horizon({**FIELDS, **changes})


def test_the_file_gives_the_study_back_and_the_page_follows_from_it(tmp_path: Path) -> None:
    measurements = measured()
    file = tmp_path / "horizon" / "adding.json"
    measurements.write(file)
    assert read(file) == measurements
    picture, text = tmp_path / "horizon" / "chart.png", tmp_path / "horizon.md"
    made = []
    for _ in range(2):
        chart.draw([measurements, measurements], picture)
        page.write({file: measurements, tmp_path / "other.json": measurements}, text, picture, Parts())
        made.append((picture.read_bytes(), text.read_text()))
    assert made[0] == made[1]
    drawn, written = made[0]
    assert drawn.startswith(b"\x89PNG")
    assert "(horizon/chart.png)" in written and "(horizon/adding.json)" in written
    rows = {line.split("|")[1].strip(): line for line in written.splitlines() if line.startswith("| `")}
    assert "> 500" in rows["`gru`"] and "< 10" in rows["`rnn`"]
    assert "≥ 500" in rows["`gru`"] and "| 2 |" in rows["`rnn`"]


def test_a_file_that_is_none_of_ours_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for content in ("{}", "not JSON", '{"format": 2}'):
        file.write_text(content)
        with pytest.raises(UserError, match="holds no measurements of a horizon study"):
            read(file)
    with pytest.raises(UserError, match="cannot read"):
        read(tmp_path / "none.json")


def test_agreement_with_the_gradient_horizon_is_that_of_scipy() -> None:
    from scipy.stats import kendalltau

    with_more = {"cells": ["rnn", "lstm", "gru", "mgu", "irnn"]}
    sentence = agreement(measured(**with_more, runs=20))
    assert f"is {kendalltau([0, 60, 500, 25, 150], [2, 30, 500, 12.5, 75]).statistic:.2f} " in sentence
    assert "p = 0.017" in sentence  # exact: 2 of 5! orders are as extreme
    assert "Too few" in agreement(measured())
