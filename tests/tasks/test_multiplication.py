"""The multiplication problem: its draws against the paper's words."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def multiplication(**options: object) -> Task:
    return TaskSpec(name="multiplication", **options).build()


def draw(task: Task, size: int = 20_000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


@pytest.mark.parametrize("length", [11, 12, 40])
def test_1997_marks_stand_where_the_paper_puts_them(length: int) -> None:
    batch = draw(multiplication(length=length))
    chances: defaultdict[tuple[int, ...], Fraction] = defaultdict(Fraction)
    for first in range(10):
        unmarked = [pair for pair in range(length) if pair != first][: length // 2 - 1]
        for second in unmarked:
            seen = tuple(sorted(pair for pair in (first, second) if pair != 0))
            chances[seen] += Fraction(1, 10 * len(unmarked))
    counts = Counter(tuple(np.flatnonzero(column).tolist()) for column in (batch.inputs[..., 1] == 1).T)
    assert set(counts) <= set(chances)
    expected = [float(chance) * batch.size for chance in chances.values()]
    assert stats.chisquare([counts[pairs] for pairs in chances], expected).pvalue > UNLIKELY


@pytest.mark.parametrize(("variant", "longest"), [("1997", 110), ("pascanu", 109)])
def test_lengths_values_and_padding(variant: str, longest: int) -> None:
    batch = draw(multiplication(variant=variant), 3000)
    assert batch.steps == longest
    counts = np.bincount(batch.lengths, minlength=longest + 1)[100:]
    assert counts.sum() == batch.size
    assert stats.chisquare(counts).pvalue > UNLIKELY
    exists, values, marks = batch.exists(), batch.inputs[..., 0], batch.inputs[..., 1]
    assert stats.kstest(values[exists][:100_000], "uniform").pvalue > UNLIKELY
    assert values.min() >= 0
    assert values.max() < 1
    assert not batch.inputs[~exists].any()
    flagged = 2 if variant == "1997" else 0
    assert ((marks == -1).sum(0) == flagged).all()


@pytest.mark.parametrize(("length", "pairs"), [(10, 4), (25, 20), (40, 64)])
def test_pascanu_marks_one_step_of_the_first_tenth_and_one_of_the_next_four(length: int, pairs: int) -> None:
    batch = draw(multiplication(variant="pascanu", length=length))
    steps = np.nonzero(batch.inputs[..., 1].T == 1)[1].reshape(-1, 2)
    tenth = batch.lengths // 10
    assert (steps[:, 0] < tenth).all()
    assert (steps[:, 1] >= tenth).all()
    assert (steps[:, 1] < tenth + 2 * batch.lengths // 5).all()
    here = batch.lengths == length  # of one length: uniform on all pairs of steps
    counts = Counter(map(tuple, steps[here].tolist()))
    assert len(counts) == pairs
    assert stats.chisquare(list(counts.values())).pvalue > UNLIKELY


@pytest.mark.parametrize("options", [{"length": 12}, {"variant": "pascanu", "length": 20}])
def test_target_is_the_product_and_a_covered_mark_counts_as_one(options: dict[str, object]) -> None:
    batch = draw(multiplication(**options), 400)
    covered = 0
    for b in range(batch.size):
        marked = [float(value) for value, mark in batch.inputs[:, b] if mark == 1]
        covered += len(marked) == 1
        assert batch.targets[b, 0] == pytest.approx(np.prod(marked), rel=1e-6)
    assert (covered > 0) == ("variant" not in options)


def test_pascanu_baseline_is_seven_144ths() -> None:
    assert multiplication(variant="pascanu").baseline().value == pytest.approx(7 / 144)


@pytest.mark.parametrize("length", [11, 100])
def test_1997_baseline_is_the_variance_of_the_mixture(length: int) -> None:
    """Var = E[Var | covered] + Var[E | covered]: U has 1/3 - 1/4, the product of two 1/9 - 1/16."""
    covered = 0.1 + 0.9 / (length // 2 - 1)
    within = covered / 12 + (1 - covered) * 7 / 144
    between = covered * (1 - covered) * (1 / 2 - 1 / 4) ** 2
    assert multiplication(length=length).baseline().value == pytest.approx(within + between)


@pytest.mark.parametrize(
    ("options", "accuracy", "solved"),
    [
        ({}, 1 - 13 / 2000, True),
        ({}, 1 - 14 / 2000, False),
        ({"variant": "pascanu"}, 0.99, True),
        ({"variant": "pascanu"}, 0.989, False),
        ({"solved_accuracy": 0.93}, 0.93, True),
    ],
)
def test_solved(options: dict[str, object], accuracy: float, solved: bool) -> None:
    assert multiplication(**options).solved({"mse": 0.0, "accuracy": accuracy}) is solved


@pytest.mark.parametrize(("variant", "share"), [("1997", 0.5), ("pascanu", 0.75)])
def test_accuracy_has_the_tolerance_of_its_paper(variant: str, share: float) -> None:
    """0.04 on the error in 1997, 0.04 on the squared error in 2013."""
    task = multiplication(variant=variant)
    batch = draw(task, 4)
    errors = np.array([0.0, 0.039, -0.19, 0.21])[:, None]
    assert task.measure(batch.targets + errors, batch)["accuracy"] == share


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 10}, "length should be at least 11 for the variant '1997'.*not 10"),
        ({"length": 9, "variant": "pascanu"}, "length should be at least 10 for the variant 'pascanu'.*not 9"),
        ({"variant": 1998}, "variant: .*'1997' or 'pascanu'"),
        ({"lenght": 5}, "no field 'lenght'; did you mean 'length'"),
        ({"solved_accuracy": 1.1}, "solved_accuracy: .*less than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'multiplication': .*{sentence}") as caught:
        TaskSpec(name="multiplication", **options)
    assert "\n" not in str(caught.value)


def test_the_year_may_be_written_as_a_number() -> None:
    assert TaskSpec(name="multiplication", variant=1997) == TaskSpec(name="multiplication", variant="1997")
