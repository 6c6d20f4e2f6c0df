"""Random permutation: the published generator to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def permutation(**options: object) -> Task:
    return TaskSpec(name="random-permutation", **options).build()


def draw(task: Task, size: int = 20_000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def test_two_keys_and_98_distractors() -> None:
    batch = draw(permutation(length=20))
    assert batch.inputs.shape == (20, 20_000)
    assert stats.binomtest(int(batch.inputs[0].sum()), batch.size).pvalue > UNLIKELY
    counts = np.bincount(batch.inputs[1:].ravel(), minlength=100)
    assert counts.size == 100
    assert counts[:2].sum() == 0
    assert stats.chisquare(counts[2:]).pvalue > UNLIKELY
    assert permutation().signature.input == Tokens(100)
    assert permutation().signature.outputs == 100


def test_distractors_are_independent_of_each_other_and_of_the_key() -> None:
    inputs = draw(permutation(length=3, symbols=5)).inputs
    table = np.zeros((2, 3, 3))
    np.add.at(table, (inputs[0], inputs[1] - 2, inputs[2] - 2), 1)
    assert stats.chisquare(table, axis=None).pvalue > UNLIKELY


@pytest.mark.parametrize("length", [1, 2, 50])
def test_target_is_the_first_symbol(length: int) -> None:
    batch = draw(permutation(length=length), 100)
    assert np.array_equal(batch.targets, batch.inputs[0])
    batch.inputs[0] = 7
    assert not (batch.targets == 7).any()  # a copy: later changes to the inputs leave it alone


def test_baseline_is_ln_2() -> None:
    assert permutation().baseline().value == pytest.approx(np.log(2))


def test_solved_at_less_than_one_percent_wrong() -> None:
    assert permutation().solved({"cross_entropy": 0.1, "accuracy": 0.99})
    assert not permutation().solved({"cross_entropy": 0.0, "accuracy": 0.989})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 0}, "length: .*greater than or equal to 1"),
        ({"symbols": 2}, "symbols: .*greater than or equal to 3"),
        ({"symbol": 5}, "no field 'symbol'; did you mean 'symbols'"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'random-permutation': .*{sentence}") as caught:
        TaskSpec(name="random-permutation", **options)
    assert "\n" not in str(caught.value)


def test_description_has_rows_of_twenty() -> None:
    rows = permutation(length=45).describe(draw(permutation(length=45), 1), 0).splitlines()
    assert [len(row.split()) for row in rows] == [21, 21, 6, 2]
