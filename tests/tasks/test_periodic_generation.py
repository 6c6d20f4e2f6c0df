"""Periodic generation: the three waves, and nothing to go by."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def wave(**options: object) -> Task:
    return TaskSpec(name="periodic-generation", **options).build()


def draw(task: Task, size: int = 5, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


@pytest.mark.parametrize(
    ("shape", "period", "values"),
    [
        ("cosine", 4, [0, 0.5, 1, 0.5, 0, 0.5]),
        ("triangle", 4, [1, 0.5, 0, 0.5, 1, 0.5]),
        ("rectangle", 4, [0, 0, 0, 1, 0, 0]),
        ("triangle", 5, [1, 0.6, 0.2, 0.2, 0.6, 1]),
        ("rectangle", 5, [0, 0, 0, 1, 1, 0]),
    ],
)
def test_waves_written_out(shape: str, period: int, values: list[float]) -> None:
    batch = draw(wave(shape=shape, period=period, length=10))
    assert batch.targets[:6, 0, 0] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("shape", ["cosine", "triangle", "rectangle"])
@pytest.mark.parametrize("period", [10, 25])
def test_waves_repeat_and_all_sequences_begin_alike(shape: str, period: int) -> None:
    batch = draw(wave(shape=shape, period=period))
    assert not batch.inputs.any()
    assert np.array_equal(batch.targets[period:], batch.targets[:-period])
    assert (batch.targets == batch.targets[:, :1]).all()
    assert (batch.targets.min(), batch.targets.max()) == (0, 1) or shape != "rectangle"


def test_lengths_are_uniform() -> None:
    counts = np.bincount(draw(wave(), 10_000).lengths)[100:]
    assert counts.size == 11
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize(("shape", "share"), [("cosine", 1 / 8), ("triangle", 1 / 12), ("rectangle", 1 / 4)])
def test_baseline_is_the_variance_of_the_wave(shape: str, share: float) -> None:
    """Exactly over the steps that occur; near the continuous wave's where periods are long and many."""
    task = wave(shape=shape, length=37)
    values = task.wave(40)
    lengths = np.arange(37, 41)
    steps = np.concatenate([values[:length] for length in lengths])
    assert task.baseline().value == pytest.approx(steps.var())
    assert task.trivial(draw(task))[0, 0, 0] == pytest.approx(steps.mean())
    assert wave(shape=shape, period=200, length=20_000).baseline().value == pytest.approx(share, rel=0.02)


def test_largest_error_is_over_existing_steps_of_all_sequences() -> None:
    task = wave()
    batch = draw(task, 20)
    outputs = np.where(batch.exists()[..., None], batch.targets, 9.0)
    outputs[7, 3] -= 0.31
    measured = task.measure(outputs, batch)
    assert measured["largest_error"] == pytest.approx(0.31)
    assert measured["mse"] == pytest.approx(0.31**2 / batch.lengths.sum())
    assert measured["rmse"] == pytest.approx(measured["mse"] ** 0.5)


def test_solved_by_the_largest_error() -> None:
    assert wave().solved({"mse": 0.0, "largest_error": 0.29, "rmse": 0.0})
    assert not wave().solved({"mse": 0.0, "largest_error": 0.3, "rmse": 0.0})
    assert not wave(tolerance=0.15).solved({"mse": 0.0, "largest_error": 0.2, "rmse": 0.0})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"period": 1}, "period: .*greater than or equal to 2"),
        ({"length": 9}, "length: .*greater than or equal to 10"),
        ({"shape": "saw"}, "shape: .*'cosine', 'triangle' or 'rectangle'"),
        ({"tolerance": 0.5}, "tolerance: .*less than 0.5"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'periodic-generation': .*{sentence}") as caught:
        TaskSpec(name="periodic-generation", **options)
    assert "\n" not in str(caught.value)
