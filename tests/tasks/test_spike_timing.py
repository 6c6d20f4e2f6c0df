"""Spike timing: trains, delays and what counts, against Gers et al. (2002)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, Task

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def timing(**options: object) -> Task:
    return TaskSpec(name="spike-timing", **options).build()


def draw(task: Task, size: int = 3000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def intervals(batch: Batch, variant: str, count: int) -> Array:
    """``[B, N]``, the steps between spikes; the first counts from step 0."""
    train = (batch.inputs if variant == "measure" else batch.targets)[..., 0].T
    assert set(np.unique(train)) == {0, 1}
    times = np.nonzero(train)[1].reshape(-1, count)
    return np.diff(times, prepend=0)


@pytest.mark.parametrize("variant", ["measure", "generate"])
@pytest.mark.parametrize(("delays", "longest"), [("range", 1), ("ends", 1), ("range", 4), ("ends", 4)])
def test_intervals_are_f_plus_an_independent_uniform_delay(variant: str, delays: str, longest: int) -> None:
    batch = draw(timing(variant=variant, delays=delays, delay=longest, spikes=3))
    drawn = intervals(batch, variant, 3) - 10
    allowed = list(range(longest + 1)) if delays == "range" else [0, longest]
    assert sorted(set(drawn.ravel())) == allowed
    index = np.searchsorted(allowed, drawn)
    joint = np.zeros((len(allowed),) * 3)
    np.add.at(joint, tuple(index.T), 1)
    assert stats.chisquare(joint, axis=None).pvalue > UNLIKELY
    assert np.array_equal(batch.lengths, drawn.sum(1) + 31)
    assert batch.steps == 3 * (10 + longest) + 1


def test_measure_asks_for_the_delay_at_the_spike_alone() -> None:
    batch = draw(timing(delay=3, spikes=4), 50)
    assert np.array_equal(batch.counted, batch.inputs[..., 0] == 1)
    for b, gaps in enumerate(intervals(batch, "measure", 4)):
        assert batch.targets[gaps.cumsum(), b, 0].tolist() == (gaps - 10).tolist()


def test_generate_tells_the_delay_at_the_spike_before() -> None:
    batch = draw(timing(variant="generate", delay=3, spikes=4), 50)
    assert batch.counted is None
    for b, gaps in enumerate(intervals(batch, "generate", 4)):
        expected = np.zeros(batch.steps)
        expected[[0, *gaps.cumsum()[:-1]]] = gaps - 10
        assert batch.inputs[:, b, 0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("options", "variance"),
    [
        ({}, 0.25),
        ({"delays": "ends", "delay": 5}, 6.25),
        ({"delay": 10}, 10.0),
        ({"variant": "generate", "spikes": 1}, (1 / 11.5) * (10.5 / 11.5)),
    ],
)
def test_baseline(options: dict[str, object], variance: float) -> None:
    assert timing(**options).baseline().value == pytest.approx(variance)


def test_constant_of_the_baseline_is_the_best_one() -> None:
    for variant in ("measure", "generate"):
        task = timing(variant=variant, delay=2)
        batch = draw(task)
        constant = task.trivial(batch)
        best = task.measure(constant, batch)["mse"]
        assert all(task.measure(constant + shift, batch)["mse"] > best for shift in (-0.05, 0.05))


def test_an_error_above_0_49_spoils_its_sequence() -> None:
    task = timing(spikes=2)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    at = np.argwhere(batch.counted[:, 0])[:, 0]
    outputs[at[0], 0] += 0.5
    outputs[at[0], 1:] += 5.0 * ~batch.counted[at[0], 1:, None]  # nobody asks there
    outputs[at[1], 0] += 0.48
    measured = task.measure(outputs, batch)
    assert measured["perfect"] == 0.75
    assert measured["accuracy"] == 7 / 8


def test_outputs_past_the_last_spike_do_not_count() -> None:
    task = timing(variant="generate", delay=5)
    batch = draw(task, 50)
    outputs = np.where(batch.exists()[..., None], task.oracle(batch), 9)
    assert task.measure(outputs, batch)["mse"] == 0


def test_solved_by_perfect_sequences() -> None:
    assert timing().solved({"mse": 0.1, "perfect": 0.99, "accuracy": 0.999})
    assert not timing().solved({"mse": 0.0, "perfect": 0.989, "accuracy": 1.0})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"interval": 0}, "interval: .*greater than or equal to 1"),
        ({"delay": 0}, "delay: .*greater than or equal to 1"),
        ({"spikes": 0}, "spikes: .*greater than or equal to 1"),
        ({"variant": "count"}, "variant: .*'measure' or 'generate'"),
        ({"delays": "all"}, "delays: .*'range' or 'ends'"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'spike-timing': .*{sentence}") as caught:
        TaskSpec(name="spike-timing", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variant", ["measure", "generate"])
def test_description_shows_spikes_and_delays(variant: str) -> None:
    task = timing(variant=variant, spikes=2, interval=3, delay=2)
    batch = draw(task, 1)
    first, second = intervals(batch, variant, 2)[0]
    rows = task.describe(batch, 0).splitlines()
    assert rows[0][13 + first] == rows[0][13 + first + second] == "|"
    assert rows[1].split()[1:] == [str(first - 3), str(second - 3)]
