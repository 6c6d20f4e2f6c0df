"""Selective copying: where the data stand, what they are, and what counts."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import log

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def copying(**options: object) -> Task:
    return TaskSpec(name="selective-copying", **options).build()


def draw(task: Task, size: int = 200, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


@pytest.mark.parametrize(("length", "symbols", "vocabulary"), [(0, 1, 4), (3, 5, 6), (64, 8, 16), (4096, 16, 16)])
def test_layout_written_out(length: int, symbols: int, vocabulary: int) -> None:
    batch = draw(copying(length=length, symbols=symbols, vocabulary=vocabulary), 20)
    read = length + symbols
    assert batch.steps == read + symbols
    for b in range(batch.size):
        data = [token for token in batch.inputs[:read, b].tolist() if token]
        assert len(data) == symbols
        assert all(1 <= token <= vocabulary - 2 for token in data)
        assert batch.inputs[read:, b].tolist() == [vocabulary - 1] * symbols
        assert batch.targets[read:, b].tolist() == data
        assert batch.counted[:, b].tolist() == [False] * read + [True] * symbols


def test_places_are_uniform_without_replacement() -> None:
    batch = draw(copying(length=4, symbols=3), 35_000)
    counts = Counter(tuple(np.flatnonzero(column).tolist()) for column in batch.inputs[:7].T)
    assert set(counts) == set(combinations(range(7), 3))
    assert stats.chisquare(list(counts.values())).pvalue > UNLIKELY


def test_tokens_are_uniform_and_independent_of_each_other_and_of_their_places() -> None:
    batch = draw(copying(length=2, symbols=2, vocabulary=5), 54_000)
    first = (batch.inputs[:4] != 0).argmax(0)
    joint = np.zeros((3, 3, 3))
    np.add.at(joint, (first, *(batch.targets[4:] - 1)), 1)
    # The first of two places among four is 0, 1 or 2 with chances 3, 2 and 1 in six.
    expected = batch.size / 9 * np.array([3, 2, 1])[:, None, None] / 6 * np.ones((3, 3, 3))
    assert stats.chisquare(joint, expected, axis=None).pvalue > UNLIKELY


def test_signature_and_baseline_are_the_published_ones() -> None:
    task = copying(length=4096, symbols=16)
    assert (task.signature.input, task.signature.outputs) == (Tokens(16), 16)
    assert task.signature.mapping is MappingKind.LABELLING
    assert task.baseline().value == log(14)


def test_scores_are_over_the_markers_alone() -> None:
    task = copying(length=5, symbols=2)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[:7] = np.random.default_rng(1).normal(size=(7, 4, 16)) * 50
    assert task.measure(outputs, batch) == {"cross_entropy": pytest.approx(0, abs=1e-9), "accuracy": 1}
    outputs[-1, 0] = 0
    measured = task.measure(outputs, batch)
    assert measured["cross_entropy"] == pytest.approx(log(16) / 8)
    assert measured["accuracy"] == 1 - 1 / 8


def test_solved_where_the_paper_says_so() -> None:
    assert copying().solved({"cross_entropy": 0.1, "accuracy": 0.97})
    assert not copying().solved({"cross_entropy": 0.1, "accuracy": 0.969})
    assert copying(solved_accuracy=0.5).solved({"cross_entropy": 1.0, "accuracy": 0.5})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": -1}, "length: .*greater than or equal to 0"),
        ({"symbols": 0}, "symbols: .*greater than or equal to 1"),
        ({"vocabulary": 3}, "vocabulary: .*greater than or equal to 4"),
        ({"vocabulry": 16}, "no field 'vocabulry'; did you mean 'vocabulary'"),
        ({"solved_accuracy": 1.1}, "solved_accuracy: .*less than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'selective-copying': .*{sentence}") as caught:
        TaskSpec(name="selective-copying", **options)
    assert "\n" not in str(caught.value)


def test_description_shortens_the_noise() -> None:
    inputs = np.array([[0, 0, 0, 0, 7, 0, 3, 0, 15, 15]]).T
    targets = np.array([[0] * 8 + [7, 3]]).T
    text = copying(length=6, symbols=2).describe(Batch(inputs, targets), 0)
    assert text == "inputs   ·×4 7 · 3 · | |\nanswer   7 3"
