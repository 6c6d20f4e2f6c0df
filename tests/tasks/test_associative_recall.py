"""Associative recall: pairs, gaps and filler as in Zoology."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import log

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def recall(**options: object) -> Task:
    return TaskSpec(name="associative-recall", **options).build()


def draw(task: Task, size: int = 200, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def gaps(batch: Batch, pairs: int) -> Array:
    """``[K, B]``, from 1: how many pairs of steps after the last pair the j-th key comes again."""
    again = [np.argmax((batch.inputs == batch.inputs[2 * j]) & batch.counted, axis=0) for j in range(pairs)]
    steps = np.stack(again) - 2 * pairs
    assert not (steps % 2).any()
    return steps // 2 + 1


@pytest.mark.parametrize("filler", ["blank", "random"])
@pytest.mark.parametrize(("length", "pairs", "vocabulary"), [(4, 1, 4), (16, 4, 10), (64, 4, 64), (64, 4, 8192)])
def test_layout_written_out(length: int, pairs: int, vocabulary: int, filler: str) -> None:
    batch = draw(recall(length=length, pairs=pairs, vocabulary=vocabulary, filler=filler), 50)
    assert batch.steps == length
    for b in range(batch.size):
        sequence = batch.inputs[:, b].tolist()
        keys, values = sequence[0 : 2 * pairs : 2], sequence[1 : 2 * pairs : 2]
        assert len(set(keys)) == len(set(values)) == pairs
        assert all(1 <= key < vocabulary // 2 for key in keys)
        assert all(vocabulary // 2 <= value < vocabulary for value in values)
        asked = np.flatnonzero(batch.counted[:, b])
        assert sorted(sequence[step] for step in asked) == sorted(keys)
        for step in asked:
            assert step >= 2 * pairs
            assert batch.targets[step, b] == values[keys.index(sequence[step])]
        rest = [token for step, token in enumerate(sequence) if step >= 2 * pairs and step not in asked]
        assert filler == "random" or not any(rest)
    assert not batch.targets[~batch.counted].any()


def test_keys_and_values_are_uniform_without_replacement_in_any_order() -> None:
    batch = draw(recall(length=8, pairs=2, vocabulary=8), 36_000)
    for column, choices in (((0, 2), range(1, 4)), ((1, 3), range(4, 8))):
        counts = Counter(map(tuple, batch.inputs[list(column)].T.tolist()))
        assert set(counts) == set(permutations(choices, 2))
        assert stats.chisquare(list(counts.values())).pvalue > UNLIKELY
    together = stats.contingency.crosstab(batch.inputs[0], batch.inputs[1]).count
    assert stats.chi2_contingency(together).pvalue > UNLIKELY


@pytest.mark.parametrize("power", [0.01, 1, 2.5])
def test_gaps_follow_the_power_law_without_replacement(power: float) -> None:
    """Jointly: the first of two by the law, the second by the law of what is left."""
    batch = draw(recall(length=14, pairs=2, vocabulary=16, power=power), 40_000)
    law = np.arange(1, 6) ** (power - 1)
    law = law / law.sum()
    first, second = gaps(batch, 2)
    seen, expected = [], []
    for one, two in permutations(range(5), 2):
        seen.append(np.sum((first == one + 1) & (second == two + 1)))
        expected.append(batch.size * law[one] * law[two] / (1 - law[one]))
    assert sum(seen) == batch.size
    assert stats.chisquare(seen, expected).pvalue > UNLIKELY


def test_gaps_of_the_published_law_are_short() -> None:
    """a = 0.01 at (64, 4): p(g) ~ g^-0.99 over 28 places."""
    first = gaps(draw(recall(), 20_000), 4)[0]
    law = np.arange(1, 29) ** -0.99
    counts = np.bincount(first, minlength=29)[1:]
    assert stats.chisquare(counts, len(first) * law / law.sum()).pvalue > UNLIKELY


def test_random_filler_is_uniform_over_the_whole_vocabulary() -> None:
    batch = draw(recall(length=8, pairs=1, vocabulary=6, filler="random"), 10_000)
    odd = batch.inputs[3::2].ravel()  # where no query ever stands
    assert stats.chisquare(np.bincount(odd, minlength=6)).pvalue > UNLIKELY


def test_signature_and_baseline_are_those_of_the_vocabulary() -> None:
    task = recall(vocabulary=8192)
    assert (task.signature.input, task.signature.outputs) == (Tokens(8192), 8192)
    assert task.signature.mapping is MappingKind.LABELLING
    assert task.baseline().value == log(4096)
    assert recall(vocabulary=9, length=8, pairs=2).baseline().value == log(5)


def test_scores_are_over_the_queries_alone() -> None:
    task = recall(length=16, pairs=2)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[~batch.counted] = np.random.default_rng(1).normal(size=(14 * 4, 32)) * 50
    assert task.measure(outputs, batch) == {"cross_entropy": pytest.approx(0, abs=1e-9), "accuracy": 1}
    outputs[np.flatnonzero(batch.counted[:, 0])[0], 0] = 0
    assert task.measure(outputs, batch) == {"cross_entropy": pytest.approx(log(32) / 8), "accuracy": 1 - 1 / 8}


def test_solved_at_the_published_accuracy() -> None:
    assert recall().solved({"cross_entropy": 0.1, "accuracy": 0.99})
    assert not recall().solved({"cross_entropy": 0.1, "accuracy": 0.989})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 15}, "length: .*multiple of 2"),
        ({"pairs": 17}, "pairs should be at most length / 4.*16 at length 64"),
        ({"vocabulary": 8}, "vocabulary 8 has 3 keys, too few for 4 pairs"),
        ({"power": 0}, "power: .*greater than 0"),
        ({"filler": "noise"}, "filler: .*'blank' or 'random'"),
        ({"solved_accuracy": 2}, "solved_accuracy: .*less than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'associative-recall': .*{sentence}") as caught:
        TaskSpec(name="associative-recall", **options)
    assert "\n" not in str(caught.value)


def test_description_shows_pairs_queries_and_answers() -> None:
    inputs = np.array([[3, 9, 5, 8, 5, 0, 0, 0, 3, 0, 0, 0, 0, 0]]).T
    targets = np.array([[0, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0]]).T
    text = recall(length=14, pairs=2, vocabulary=12).describe(Batch(inputs, targets, counted=targets > 0), 0)
    assert text == "pairs    3→9 5→8\nqueries  5? · · · 3? ·×5\nanswers  8 9"
