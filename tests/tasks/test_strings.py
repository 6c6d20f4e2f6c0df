"""String tasks, counting and Dyck languages, by small cases that a hand can check and by their laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch
from longlag_tasks import strings
from longlag_tasks.dyck import Dyck, DyckOptions
from longlag_tasks.strings import Rewriting


def build(name: str, **options: Any) -> Any:
    return TaskSpec(name=name, **options).build()


@pytest.mark.parametrize(
    ("name", "string", "answer"),
    [
        ("reverse-string", "0011", "1100"), ("duplicate-string", "001", "001001"), ("odds-first", "01011", "11001"),
        ("bucket-sort", "31420", "01234"), ("stack-manipulation", "01-i", "102"), ("stack-manipulation", "0--o", "02"),
    ],
)  # fmt: skip
def test_strings_are_rewritten_as_a_person_would(name: str, string: str, answer: str) -> None:
    task: Rewriting = build(name)
    symbols = [task.symbols.index(symbol) for symbol in string]
    assert task.solve(symbols) == [int(symbol) for symbol in answer]
    rewritten, sizes = task.rewrite(np.array(symbols)[:, None], np.array([len(symbols)]))
    assert rewritten[: len(answer) if sizes is None else sizes[0], 0].tolist() == task.solve(symbols)


@pytest.mark.parametrize(
    "name", ["reverse-string", "duplicate-string", "odds-first", "bucket-sort", "stack-manipulation"]
)
def test_strings_of_any_length_stand_before_their_answers_and_are_scored_alike(name: str) -> None:
    task = build(name, least=1, length=7)
    batch = task.sample(np.random.default_rng(0), 4000)
    assert np.unique(task.lengths(batch)).tolist() == list(range(1, 8))
    blank = len(task.symbols)
    asked = (batch.inputs == blank).sum(0)
    assert np.array_equal(asked, task.answer[0] * task.lengths(batch) + task.answer[1])
    assert (batch.inputs[batch.counted] == blank).all()
    wrong = task.oracle(batch)
    wrong[:, 0] = -wrong[:, 0]  # the first sequence is all wrong, however long it is
    assert task.measure(wrong, batch)["accuracy"] == pytest.approx(1 - 1 / 4000)
    for length in (1, 4, 7):
        law, there = task.law(length)
        alike = np.flatnonzero(task.lengths(batch) == length)
        for place in range(len(law)):
            counted = batch.counted[length + place, alike]
            found = np.bincount(batch.targets[length + place, alike][counted], minlength=task.classes) / len(alike)
            assert abs(counted.mean() - there[place]) < 5 * np.sqrt(0.25 / len(alike)) + 1e-12
            assert np.all(np.abs(found - law[place] * there[place]) < 5 * np.sqrt(0.25 / len(alike)) + 1e-12)


@pytest.mark.parametrize(("sequence", "answer"), [("01_1", 0), ("1_10.", 0), ("11_1", 1), ("110_10.", 1)])
def test_the_hidden_bit_stands_in_the_other_copy(sequence: str, answer: int) -> None:
    inputs = np.array([["01_.".index(symbol)] for symbol in sequence])
    assert build("missing-duplicate").oracle(Batch(inputs, np.zeros(1, dtype=np.int64)))[0].argmax() == answer


@pytest.mark.parametrize(("language", "string"), [("anbn", "aabb"), ("anbncn", "aabbcc")])
def test_what_may_follow_in_counting(language: str, string: str) -> None:
    task = build("counting", language=language, least=len(string), length=len(string))
    batch = task.sample(np.random.default_rng(0), 1)
    names = string[:: len(string) // len(set(string))] + "."
    assert "".join(names[symbol] for symbol in batch.inputs[:, 0]) == string
    follow = ["".join(names[k] for k in np.flatnonzero(step)) for step in batch.targets[:, 0]]
    assert follow == ["ab", "ab", *string[3:], "."]


def test_counting_needs_a_string() -> None:
    with pytest.raises(UserError, match="no string of anbncn has 4 to 5 steps"):
        build("counting", language="anbncn", least=4, length=5)


def test_dyck_streams_are_nested_and_their_chances_are_those_that_are_drawn() -> None:
    task = Dyck(DyckOptions(length=40, kinds=3, depth=2))
    batch = task.sample(np.random.default_rng(0), 3000)
    deepest = 0
    for column in batch.inputs.T[:200].tolist():
        stack: list[int] = []
        for symbol in column:
            if symbol == 0:
                assert not stack
            elif symbol <= 3:
                stack.append(symbol)
            else:
                assert stack.pop() == symbol - 3
            deepest = max(deepest, len(stack))
    assert deepest == 2
    law, nats, _ = task._law(batch.inputs)
    assert law.sum(-1) == pytest.approx(np.ones(batch.inputs.shape))
    wanted, found = law.mean((0, 1)), np.bincount(batch.targets.ravel(), minlength=7) / batch.targets.size
    assert np.abs(wanted - found).max() < 0.005
    chosen = np.take_along_axis(law, batch.targets[..., None], -1)
    assert -np.log(chosen).mean() == pytest.approx(nats.mean(), abs=0.01)


def test_a_long_dyck_stream_costs_what_the_stationary_law_says() -> None:
    """m = 10, k = 8: the least loss is 2m/(2m+1) (ln 2 + ln(k)/2), the frequencies ln(2m+1) + 2m/(2m+1) ln(k/m)."""
    task = Dyck(DyckOptions(length=20_000, kinds=8, depth=10))
    frequencies = task._frequencies
    assert task._visits @ task._chances[1] == pytest.approx(20 / 21 * (np.log(2) + np.log(8) / 2), abs=2e-3)
    assert -(frequencies * np.log(frequencies)).sum() == pytest.approx(np.log(21) + 20 / 21 * np.log(0.8), abs=2e-3)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("name", ["missing-duplicate", "stack-manipulation", "reverse-string"])
def test_the_quick_way_for_one_length_draws_the_same_numbers(
    name: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = build(name, length=length)
    quick = [task.sample(np.random.default_rng(5), size) for size in (1, 50)]
    monkeypatch.setattr(strings, "alike", lambda options: False)
    for found, size in zip(quick, (1, 50), strict=True):
        wanted = task.sample(np.random.default_rng(5), size)
        for field in ("inputs", "targets", "counted"):
            np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
