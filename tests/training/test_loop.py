"""A run as its user sees it: repeatable, unchanged by what watches it, and a result however it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from longlag.spec import RunSpec, load_run
from longlag.training import Pruned, RunCallback, RunResult, train

TINY: dict[str, Any] = {
    "task": {"name": "adding", "length": 12},
    "cell": "lstm",
    "model": {"hidden_size": 8},
    "optimizer": {"name": "adam", "lr": 0.01},
    "clip": {"norm": 1.0},
    "training": {"updates": 60, "eval_every": 20, "batch_size": 10},
    "data": {"validation": 50, "test": 50},
    "probe": {"log_every": 5, "batch_size": 10},
}


def tiny(**changes: Any) -> RunSpec:
    data = {**TINY}
    for path, value in changes.items():
        section, _, field = path.partition("__")
        data[section] = {**data[section], field: value} if field else value
    return load_run(data)


class Notes(RunCallback):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.values: list[tuple[int, str, float]] = []
        self.curves: list[tuple[int, list[Any]]] = []
        self.finish: RunResult | None = None

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        self.values += [(update, name, value) for name, value in values.items()]

    def flow(self, update: int, curves: Any) -> None:
        self.curves.append((update, list(curves)))

    def finished(self, result: RunResult) -> None:
        self.finish = result

    def series(self, name: str) -> dict[int, float]:
        return {update: value for update, key, value in self.values if key == name}


def numbers(result: RunResult) -> dict[str, Any]:
    """Everything but times."""
    return result.model_dump(mode="json", exclude={"wall_seconds", "cpu_seconds"})


def test_a_run_repeats_bit_for_bit(tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    a = train(tiny(), [first])
    torch.manual_seed(99)  # the global generator has no say
    b = train(tiny(), [second], cache=tmp_path)
    assert numbers(a) == numbers(b)
    assert first.values == second.values and len(first.values) > 50


def test_another_seed_gives_other_numbers_on_the_same_splits() -> None:
    class Data(RunCallback):
        def started(self, spec: Any, splits: Any, parameters: int, environment: Any) -> None:
            self.splits = splits

    first, second = Data(), Data()
    a, b = train(tiny(), [first]), train(tiny(seed=1), [second])
    assert a.test != b.test
    for name in ("validation", "test"):
        assert (first.splits[name].batch.inputs == second.splits[name].batch.inputs).all()
        assert first.splits[name].table._fingerprint == second.splits[name].table._fingerprint
    assert not (first.splits["validation"].batch.inputs == first.splits["test"].batch.inputs).all()


@pytest.mark.parametrize("change", [{"probe__curves": False}, {"probe__log_every": 1}, {"probe__batch_size": 3}])
def test_a_probe_changes_no_number(change: dict[str, Any]) -> None:
    plain, probed = train(tiny()), train(tiny(**change))
    assert plain.test == probed.test and plain.validation == probed.validation


def test_the_share_of_clipped_updates_is_told_at_evaluations() -> None:
    all_of_them, told = Notes(), Notes()
    train(tiny(clip={"norm": 1e-6}, training__updates=5, training__eval_every=2), [all_of_them])
    assert all_of_them.series("train/clipped") == {2: 1.0, 4: 1.0, 5: 1.0}
    norms = Notes()
    train(tiny(clip={}, training__updates=4, training__eval_every=4, probe__log_every=1), [norms])
    sizes = norms.series("gradient_norm/global")
    between = sorted(sizes.values())[1] * 1.0001  # the first update is the same with and without clipping
    train(tiny(clip={"norm": between}, training__updates=4, training__eval_every=4, probe__log_every=1), [told])
    over = [size > between for size in told.series("gradient_norm/global").values()]
    assert 0 < sum(over) < 4, "else the share would say nothing"
    assert told.series("train/clipped") == {4: sum(over) / 4}


def test_gradients_are_read_before_clipping() -> None:
    free, clipped = Notes(), Notes()
    train(tiny(clip={}, training__updates=1), [free])
    result = train(tiny(clip={"norm": 1e-6}, training__updates=1), [clipped])
    before = free.series("gradient_norm/global")[1]
    assert before > 1e-3
    assert clipped.series("gradient_norm/global")[1] == before
    assert clipped.series("train/clipped") == {1: 1.0} and free.series("train/clipped") == {1: 0.0}
    parts = [clipped.series(f"gradient_norm/{part}")[1] for part in ("layer1", "readout")]
    assert math.hypot(*parts) == pytest.approx(before, rel=1e-12)
    assert result.outcome == "budget"


def test_a_learning_rate_that_stays_is_told_once() -> None:
    constant, falling = Notes(), Notes()
    train(tiny(training__updates=4), [constant])
    train(tiny(training__updates=4, schedule={"name": "linear"}), [falling])
    assert list(constant.series("train/learning_rate")) == [1]
    assert list(falling.series("train/learning_rate")) == list(falling.series("train/loss"))


def test_clipping_bounds_the_step() -> None:
    """SGD with lr 1: the parameters move by the clipped gradient exactly."""
    from longlag.training.loop import Run

    for clip, bound in ({"norm": 1e-3}, 1e-3), ({"value": 1e-5}, None):
        spec = tiny(clip=clip, optimizer={"name": "sgd", "lr": 1.0}, training__updates=1)
        run = Run(spec, [], None)
        before = [p.detach().clone() for p in run.parameters]
        run.until_stopped(lambda: False)
        moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(run.parameters, before, strict=True)])
        if bound:
            assert float(moved.norm()) == pytest.approx(bound, rel=1e-3)
        else:
            assert 0 < float(moved.abs().max()) <= 1e-5 * 1.01


def test_divergence_is_a_result() -> None:
    notes = Notes()
    spec = tiny(cell={"name": "rnn", "activation": "linear"}, optimizer={"name": "sgd", "lr": 1e6}, clip={})
    result = train(spec, [notes])
    assert result.outcome == "diverged" and "update" in result.reason
    assert result.test is None and math.isnan(result.score) and result.solved_at is None
    assert list(notes.series("train/diverged").values()) == [1.0]
    assert RunResult.model_validate_json(result.model_dump_json()).outcome == "diverged"


def test_solved_stops_the_run_at_an_evaluation() -> None:
    spec = tiny(task={"name": "adding", "length": 12, "solved_mse": 0.5})
    result = train(spec)
    assert (result.outcome, result.solved_at, result.updates) == ("solved", 20, 20)
    on = train(tiny(task={"name": "adding", "length": 12, "solved_mse": 0.5}, training__stop_when_solved=False))
    assert (on.outcome, on.solved_at, on.updates) == ("solved", 20, 60)


def test_the_test_score_is_the_one_measured_on_the_test_split() -> None:
    result = train(tiny())
    assert result.test is not None
    assert result.score == pytest.approx(result.test["mse"] / (1 / 6))
    assert result.baseline == pytest.approx(1 / 6)


def test_a_callback_may_prune() -> None:
    class Pruner(RunCallback):
        def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
            raise Pruned(f"no better than others at update {update}")

    result = train(tiny(), [Pruner()])
    assert (result.outcome, result.updates, result.test) == ("pruned", 20, None)
    assert result.reason == "no better than others at update 20"


def test_interrupted_after_the_evaluation() -> None:
    result = train(tiny(), interrupted=lambda: True)
    assert (result.outcome, result.updates) == ("interrupted", 20)
    assert result.validation


def test_curves_come_at_the_start_and_at_every_evaluation() -> None:
    notes = Notes()
    result = train(tiny(), [notes])
    assert [update for update, _ in notes.curves] == [0, 20, 40, 60]
    assert [c.name for c in notes.curves[0][1]] == ["layer1.h", "layer1.c"]
    last = notes.curves[-1][1][0]
    assert last.norms.shape == (12,) and (last.norms > 0).all()
    assert result.gradient["final_horizon"] == last.horizon


def test_composition_trains_and_resets_nothing() -> None:
    model = {
        "hidden_size": 6,
        "depth": 3,
        "dropout": 0.2,
        "residual": True,
        "layer_norm": True,
        "initial_state": "learned",
        "readout": {"hidden": [5, 4], "activation": "tanh"},
    }
    first, second = train(tiny(model=model)), train(tiny(model=model))
    assert numbers(first) == numbers(second)
    assert first.test != train(tiny(model={**model, "dropout": 0.0})).test
    train(tiny(model={"hidden_size": 6, "depth": 2, "bidirectional": True}))
