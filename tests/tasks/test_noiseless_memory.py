"""Noiseless memory: the published layout and patterns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed
SIZES = {"5-bit": (2, 5), "20-bit": (5, 10)}


def memory(**options: object) -> Task:
    return TaskSpec(name="noiseless-memory", **options).build()


def draw(task: Task, size: int = 5, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def test_layout_written_out() -> None:
    batch = draw(memory(length=3))
    for b in range(batch.size):
        pattern = batch.targets[-5:, b].tolist()
        assert batch.inputs[:, b].tolist() == [*pattern, 2, 2, 2, 3, 2, 2, 2, 2]
        assert batch.targets[:, b].tolist() == [2] * 8 + pattern


@pytest.mark.parametrize("variant", SIZES)
@pytest.mark.parametrize("length", [1, 50, 200])
def test_sizes_and_lag(variant: str, length: int) -> None:
    values, places = SIZES[variant]
    task = memory(variant=variant, length=length)
    batch = draw(task)
    assert batch.steps == length + 2 * places
    assert (task.signature.input, task.signature.outputs) == (Tokens(values + 2), values + 1)
    assert np.array_equal(batch.targets[length + places :], batch.inputs[:places])
    assert np.flatnonzero(batch.inputs[:, 0] == values + 1).tolist() == [length + places]


def test_every_5_bit_pattern_is_equally_likely() -> None:
    batch = draw(memory(), 20_000)
    counts = np.bincount(2 ** np.arange(5) @ batch.inputs[:5])
    assert counts.size == 32
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_20_bit_symbols_are_uniform_and_neighbours_independent() -> None:
    pattern = draw(memory(variant="20-bit"), 20_000).inputs[:10]
    for first, second in itertools.pairwise(pattern):
        assert stats.chisquare(np.bincount(5 * first + second, minlength=25)).pvalue > UNLIKELY


@pytest.mark.parametrize(("variant", "nats"), [("5-bit", 5 * np.log(2) / 60), ("20-bit", 10 * np.log(5) / 70)])
def test_baseline(variant: str, nats: float) -> None:
    assert memory(variant=variant).baseline().value == pytest.approx(nats)


def test_one_wrong_output_anywhere_spoils_a_sequence() -> None:
    task = memory(length=4)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[0, 0] = [100, 0, 0]  # a symbol where a blank is due
    measured = task.measure(outputs, batch)
    assert measured["perfect"] == 0.75
    assert measured["accuracy"] == 1
    outputs[-1, 1] = [0, 0, 100]
    measured = task.measure(outputs, batch)
    assert measured["perfect"] == 0.5
    assert measured["accuracy"] == 0.95


def test_solved_at_less_than_one_percent_wrong() -> None:
    assert memory().solved({"cross_entropy": 0.1, "perfect": 0.99, "accuracy": 0.99})
    assert not memory().solved({"cross_entropy": 0.0, "perfect": 0.989, "accuracy": 1.0})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 0}, "length: .*greater than or equal to 1"),
        ({"variant": "6-bit"}, "variant: .*'5-bit' or '20-bit'"),
        ({"solved_share": 0}, "solved_share: .*greater than 0"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'noiseless-memory': .*{sentence}") as caught:
        TaskSpec(name="noiseless-memory", **options)
    assert "\n" not in str(caught.value)


def test_description_shortens_the_lag() -> None:
    inputs = np.array([[1, 0, 0, 1, 1, 2, 2, 2, 2, 3, 2, 2, 2, 2]]).T
    targets = np.array([[2] * 9 + [1, 0, 0, 1, 1]]).T
    text = memory(length=4).describe(Batch(inputs, targets), 0)
    assert text == "inputs   1 0 0 1 1 ·×4 | ·×4\ntargets  ·×9 1 0 0 1 1"
