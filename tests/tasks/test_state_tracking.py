"""Parity, even pairs, cycles, majority, word problems and arithmetic, by small cases that a hand can check."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task
from longlag_tasks import _expressions as expressions
from longlag_tasks._groups import ELEMENTS, group
from longlag_tasks._lengths import OneAnswer


def draw(task: Task, size: int = 2000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def build(name: str, **options: Any) -> Any:
    return TaskSpec(name=name, **options).build()


@pytest.mark.parametrize(
    ("name", "sequence", "answer"),
    [
        ("parity", "1101", 1), ("parity", "11", 0), ("even-pairs", "1001", 0), ("even-pairs", "011", 1),
        ("cycle-navigation", "2202", 2), ("cycle-navigation", "11111", 0), ("majority", "1100", 0),
        ("majority", "11010", 1), ("modular-arithmetic", "3+4×4=", 4), ("modular-arithmetic", "2-4=", 3),
    ],
)  # fmt: skip
def test_answers_are_those_of_a_person(name: str, sequence: str, answer: int) -> None:
    task: OneAnswer[Any] = build(name)
    symbols = expressions.SYMBOLS if name == "modular-arithmetic" else "0123456789"
    inputs = np.array([[symbols.index(symbol)] for symbol in sequence])
    assert task.oracle(Batch(inputs, np.zeros(1, dtype=np.int64)))[0].argmax() == answer


@pytest.mark.parametrize("name", ["parity", "even-pairs", "cycle-navigation", "majority", "modular-arithmetic"])
def test_lengths_are_uniform_and_the_law_of_answers_is_the_one_that_is_drawn(name: str) -> None:
    task = build(name, least=3, length=8)
    batch = draw(task, 12000)
    lengths = task.lengths(batch)
    wanted = task.shape(np.repeat(np.arange(3, 9), 2000))
    for length in np.unique(wanted):
        assert abs(np.sum(lengths == length) - np.sum(wanted == length)) < 5 * np.sqrt(2000)
    for length in range(3, 9):
        alike = batch.targets[lengths == task.shape(np.array([length]))[0]]
        law = task.law(length)
        found = np.bincount(alike, minlength=len(law)) / len(alike)
        assert np.all(np.abs(found - law) < 5 * np.sqrt(law * (1 - law) / len(alike)) + 1e-9), length


@pytest.mark.parametrize("dialect", ["deletang", "slice"])
def test_bracketed_expressions_follow_their_grammar_and_law(dialect: str) -> None:
    task = build("modular-arithmetic", brackets=True, dialect=dialect, length=10)
    batch, inside = draw(task, 20000), 10 - (dialect == "slice")
    texts = ["".join(expressions.SYMBOLS[s] for s in column).rstrip("=") for column in batch.inputs.T[:300]]

    def matches(text: str) -> bool:
        if len(text) <= 4:
            return text.translate(str.maketrans("01234", "ddddd")) in ("d", "-d", "(d)", "(-d)")
        places = [k for k in range(2, len(text) - 2) if text[k] in "+-×"]
        return text[0] + text[-1] == "()" and any(matches(text[1:k]) and matches(text[k + 1 : -1]) for k in places)

    assert all(len(text) == inside and matches(text) for text in texts)
    law = task.law(10)
    assert np.all(np.abs(np.bincount(batch.targets) / 20000 - law) < 5 * np.sqrt(law * (1 - law) / 20000))


@pytest.mark.parametrize("operands", [1, 2, 3, 4])
def test_law_of_expressions_without_brackets_by_counting_all_of_them(operands: int) -> None:
    counts = np.zeros(expressions.MODULUS)
    for digits in product("01234", repeat=operands):
        for signs in product("+-×", repeat=operands - 1):
            text = "".join(digit + sign for digit, sign in zip(digits, (*signs, ""), strict=True))
            counts[expressions.value(text)] += 1
    sure = expressions.law_of_flat(operands)
    assert counts[0] / counts.sum() == pytest.approx(sure + (1 - sure) / 5)
    assert counts[1:] / counts.sum() == pytest.approx(np.full(4, (1 - sure) / 5))


@pytest.mark.parametrize("name", ELEMENTS)
def test_groups_are_groups_and_products_are_those_of_permutations(name: str) -> None:
    found = group(name)
    table = found.products.reshape(found.order, found.order)
    assert found.order == {"S3": 6, "S4": 24, "S5": 120}.get(name, 60)
    assert np.array_equal(np.sort(table, 0), np.sort(table, 1).T) and np.array_equal(table[0], np.arange(found.order))
    rng = np.random.default_rng(0)
    elements = rng.integers(0, found.order, (50, 3))
    prefixes = found.prefixes(elements)
    for column in range(3):
        now = np.arange(len(found.elements[0]))
        for step in range(50):
            now = np.array(found.elements[elements[step, column]])[now]
            assert tuple(now) == found.elements[prefixes[step, column]]


@pytest.mark.parametrize(
    ("options", "count"),
    [({"group": "S5", "generators": "swaps"}, 11), ({"group": "S5", "generators": "3-permutations"}, 31),
     ({"group": "A5", "generators": "3-permutations"}, 21), ({"group": "S5", "tokens": 4, "filler": True}, 121)],
)  # fmt: skip
def test_word_problems_have_as_many_tokens_as_in_the_papers(options: dict[str, Any], count: int) -> None:
    assert build("word-problem", **options).signature.input.size == count


def test_targets_of_several_tokens_come_later_and_stay() -> None:
    batch = draw(build("word-problem", tokens=3, filler=True, length=8), 5)
    plain = build("word-problem", length=3).oracle(Batch(batch.inputs[::3], batch.inputs[::3])).argmax(-1)
    assert (batch.inputs[[1, 2, 4, 5, 7]] == 6).all() and (batch.targets[:2] == 0).all()
    assert np.array_equal(batch.targets[2:], plain.repeat(3, 0)[:6])


def test_swaps_alternate_in_sign_at_the_rate_that_the_eleven_tokens_give() -> None:
    """Even products at step t: (1 + (-9/11)^t) / 2, one token of eleven being the identity."""
    found = group("S5")
    even = np.array([sum(a > b for i, a in enumerate(e) for b in e[i + 1 :]) % 2 == 0 for e in found.elements])
    law = found.law(found.moving(2), 6)
    assert law[:, even].sum(1) == pytest.approx([(1 + (-9 / 11) ** t) / 2 for t in range(1, 7)])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"group": "Z60", "generators": "swaps"}, "all for Z60"), ({"group": "A5", "generators": "swaps"}, "holds none"),
     ({"filler": True}, "several tokens"), ({"least": 50}, "at most the length, 40")],
)  # fmt: skip
def test_what_there_is_not_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("word-problem", **options)
