"""The adding problem: its draws against the papers' words."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, Task

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def adding(**options: object) -> Task:
    return TaskSpec(name="adding", **options).build()


def draw(task: Task, size: int = 20_000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def marked_steps(batch: Batch) -> Array:
    """``[B, 2]``, the steps whose mark is 1, of sequences with two of them."""
    marks = batch.inputs[..., 1].T == 1
    assert (marks.sum(1) == 2).all()
    return np.nonzero(marks)[1].reshape(-1, 2)


def uniform(counts: Counter[tuple[int, ...]]) -> bool:
    """Whether outcomes that all occurred did so equally often (chi-square); a sole outcome always does."""
    return len(counts) == 1 or stats.chisquare(list(counts.values())).pvalue > UNLIKELY


@pytest.mark.parametrize("variant", ["halves", "anywhere"])
def test_values_are_uniform_and_marks_zero_or_one(variant: str) -> None:
    batch = draw(adding(variant=variant, length=50), 2000)
    values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values.ravel(), "uniform").pvalue > UNLIKELY
    assert stats.kstest(values[marks == 1], "uniform").pvalue > UNLIKELY
    assert set(np.unique(marks)) == {0, 1}
    assert batch.lengths is None


@pytest.mark.parametrize("length", [2, 3, 11, 40])
def test_halves_marks_one_uniform_step_of_each_half(length: int) -> None:
    steps = marked_steps(draw(adding(length=length)))
    half = length // 2
    assert (steps[:, 0] < half).all()
    assert (steps[:, 1] >= half).all()
    counts = Counter(map(tuple, steps.tolist()))
    assert len(counts) == half * (length - half)
    assert uniform(counts)  # jointly: each uniform, and independent


@pytest.mark.parametrize("length", [2, 3, 12])
def test_anywhere_draws_two_steps_without_replacement(length: int) -> None:
    steps = marked_steps(draw(adding(variant="anywhere", length=length)))
    counts = Counter(map(tuple, steps.tolist()))
    assert len(counts) == length * (length - 1) // 2
    assert uniform(counts)


@pytest.mark.parametrize("variant", ["halves", "anywhere"])
def test_target_is_the_sum_of_the_marked_values(variant: str) -> None:
    batch = draw(adding(variant=variant, length=20), 100)
    for b in range(100):
        total = sum(float(value) for value, mark in batch.inputs[:, b] if mark == 1)
        assert batch.targets[b, 0] == pytest.approx(total, rel=1e-6)


def visible_marks_1997(length: int) -> dict[tuple[int, ...], Fraction]:
    """Which pairs carry the mark 1, with their probabilities, enumerated word by word from the paper."""
    chances: dict[tuple[int, ...], Fraction] = defaultdict(Fraction)
    for first in range(10):
        unmarked = [pair for pair in range(length) if pair != first][: length // 2 - 1]
        for second in unmarked:
            seen = tuple(sorted(pair for pair in (first, second) if pair != 0))
            chances[seen] += Fraction(1, 10 * len(unmarked))
    return chances


@pytest.mark.parametrize("length", [11, 12, 21, 40])
def test_1997_marks_stand_where_the_paper_puts_them(length: int) -> None:
    batch = draw(adding(variant="1997", length=length))
    seen = Counter(tuple(np.flatnonzero(column).tolist()) for column in (batch.inputs[..., 1] == 1).T)
    chances = visible_marks_1997(length)
    assert sum(chances.values()) == 1
    assert set(seen) <= set(chances)
    expected = [float(chance) * batch.size for chance in chances.values()]
    assert stats.chisquare([seen[pairs] for pairs in chances], expected).pvalue > UNLIKELY


@pytest.mark.parametrize("length", [11, 40, 105])
def test_1997_lengths_flags_values_and_padding(length: int) -> None:
    batch = draw(adding(variant="1997", length=length), 5000)
    longest = length + length // 10
    assert batch.steps == longest
    counts = np.bincount(batch.lengths, minlength=longest + 1)[length:]
    assert counts.sum() == batch.size
    assert stats.chisquare(counts).pvalue > UNLIKELY
    values, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    exists = batch.exists()
    assert (marks[0] == -1).all()
    assert (marks[batch.lengths - 1, np.arange(batch.size)] == -1).all()
    assert ((marks == -1).sum(0) == 2).all()
    assert set(np.unique(marks)) == {-1, 0, 1}
    assert not batch.inputs[~exists].any()
    assert values.min() >= -1
    assert values.max() < 1
    assert stats.kstest(values[exists][:100_000], stats.uniform(-1, 2).cdf).pvalue > UNLIKELY


def test_1997_target_counts_a_covered_mark_as_nothing() -> None:
    batch = draw(adding(variant="1997", length=12), 300)
    covered = 0
    for b in range(batch.size):
        marked = [float(value) for value, mark in batch.inputs[:, b] if mark == 1]
        covered += len(marked) == 1
        assert batch.targets[b, 0] == pytest.approx(0.5 + sum(marked) / 4, abs=1e-7)
    assert covered > 0
    assert batch.targets.min() >= 0
    assert batch.targets.max() <= 1


@pytest.mark.parametrize("length", [11, 12, 25, 100, 101, 500])
def test_1997_baseline_is_the_enumerated_variance(length: int) -> None:
    counted = sum(len(pairs) * chance for pairs, chance in visible_marks_1997(length).items())
    assert adding(variant="1997", length=length).baseline().value == pytest.approx(float(counted / 48))


@pytest.mark.parametrize("length", [10, 25, 40])
def test_pascanu_marks_one_step_of_the_first_tenth_and_one_of_the_next_four(length: int) -> None:
    batch = draw(adding(variant="pascanu", length=length))
    steps, tenth = marked_steps(batch), batch.lengths // 10
    assert (steps[:, 0] < tenth).all()
    assert (steps[:, 1] >= tenth).all()
    assert (steps[:, 1] < tenth + 2 * batch.lengths // 5).all()
    counts = Counter(map(tuple, steps[batch.lengths == length].tolist()))
    assert len(counts) == (length // 10) * (2 * length // 5)
    assert uniform(counts)
    assert set(np.unique(batch.inputs[..., 1])) == {0, 1}


def test_pascanu_lengths_values_and_target() -> None:
    batch = draw(adding(variant="pascanu"), 3000)
    counts = np.bincount(batch.lengths)[100:]
    assert counts.size == 10  # 100 ... 109
    assert stats.chisquare(counts).pvalue > UNLIKELY
    values, exists = batch.inputs[..., 0], batch.exists()
    assert stats.kstest(values[exists][:100_000], "uniform").pvalue > UNLIKELY
    assert not batch.inputs[~exists].any()
    for b in range(100):
        marked = [float(value) for value, mark in batch.inputs[:, b] if mark == 1]
        assert batch.targets[b, 0] == pytest.approx(np.mean(marked), rel=1e-6)


def test_pascanu_is_right_below_a_squared_error_of_0_04() -> None:
    task = adding(variant="pascanu")
    batch = draw(task, 4)
    measured = task.measure(batch.targets + np.array([[0.0], [0.19], [-0.19], [0.21]]), batch)
    assert measured["accuracy"] == 0.75
    assert task.baseline().value == 1 / 24


@pytest.mark.parametrize("variant", ["halves", "anywhere"])
def test_baseline_is_a_sixth_and_not_the_printed_0_1767(variant: str) -> None:
    """Against 200,000 draws; 0.1767 is more than ten standard errors away."""
    task = adding(variant=variant, length=10)
    batch = draw(task, 200_000)
    squares = (batch.targets[:, 0].astype(float) - 1) ** 2
    error = squares.std() / np.sqrt(batch.size)
    assert abs(squares.mean() - 1 / 6) < 4 * error
    assert abs(squares.mean() - 0.1767) > 10 * error
    assert task.baseline().value == 1 / 6


def test_accuracy_is_the_share_within_0_04() -> None:
    task = adding(length=10)
    batch = draw(task, 8)
    errors = np.array([0.0, 0.039, -0.039, 0.041, -0.041, 1.0, -1.0, 0.02])[:, None]
    measured = task.measure(batch.targets + errors, batch)
    assert measured["accuracy"] == 0.5
    assert measured["mse"] == pytest.approx(np.mean(errors**2))


@pytest.mark.parametrize(
    ("options", "mse", "accuracy", "solved"),
    [
        ({}, 0.0049, 0.0, True),
        ({}, 0.005, 1.0, False),
        ({"variant": "anywhere", "solved_mse": 0.001}, 0.0049, 1.0, False),
        ({"variant": "1997"}, 0.1, 0.999, True),
        ({"variant": "1997"}, 0.0, 0.998, False),
        ({"variant": "1997", "solved_accuracy": 0.9}, 0.1, 0.95, True),
        ({"variant": "pascanu"}, 0.1, 0.99, True),
        ({"variant": "pascanu"}, 0.0, 0.989, False),
    ],
)
def test_solved(options: dict[str, object], mse: float, accuracy: float, solved: bool) -> None:
    assert adding(**options).solved({"mse": mse, "accuracy": accuracy}) is solved


def test_the_year_may_be_written_as_a_number() -> None:
    assert TaskSpec(name="adding", variant=1997) == TaskSpec(name="adding", variant="1997")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 1}, "length should be at least 2 for the variant 'halves'"),
        ({"length": -5, "variant": "anywhere"}, "at least 2 for the variant 'anywhere'.*not -5"),
        ({"length": 10, "variant": "1997"}, "at least 11 for the variant '1997'.*not 10"),
        ({"length": "long"}, "length: .*integer"),
        ({"length": 10.5}, "length: .*integer"),
        ({"lenght": 100}, "no field 'lenght'; did you mean 'length'"),
        ({"variant": "half"}, "variant: .*'halves', 'anywhere', '1997' or 'pascanu'"),
        ({"variant": True}, "variant: .*'halves', 'anywhere', '1997' or 'pascanu'"),
        ({"solved_mse": 0}, "solved_mse: .*greater than 0"),
        ({"length": 9, "variant": "pascanu"}, "at least 10 for the variant 'pascanu'.*not 9"),
        ({"variant": "1997", "solved_mse": 0.01}, "set solved_accuracy, not solved_mse"),
        ({"variant": "pascanu", "solved_mse": 0.01}, "set solved_accuracy, not solved_mse"),
        ({"solved_accuracy": 0.9}, "set solved_mse, not solved_accuracy"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'adding': .*{sentence}") as caught:
        TaskSpec(name="adding", **options)
    assert "\n" not in str(caught.value)


def test_description_draws_marks_below_their_values() -> None:
    inputs = np.zeros((60, 1, 2), np.float32)
    inputs[[7, 55], 0] = [[0.25, 1], [0.99, 1]]
    batch = Batch(inputs, np.array([[1.24]], np.float32))
    rows = adding(length=60).describe(batch, 0).splitlines()
    assert rows[1].index("^") == rows[0].index("▃") == 13 + 7
    assert rows[3].index("^") == rows[2].index("█") == 13 + 5
    assert rows[4:] == ["marked  0.2500 at step 7, 0.9900 at step 55", "target  1.2400"]
