"""The linear teacher, delayed XOR, the tasks with cards and ListOps, by what a reader sees."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag_tasks import _listops as listops


def build(name: str, **options: Any) -> Any:
    return TaskSpec(name=name, **options).build()


@pytest.mark.parametrize("memory", [0.0, 0.36, 0.99])
def test_no_mode_of_the_teacher_forgets_faster_than_asked(memory: float) -> None:
    transition, *_ = build("linear-teacher", memory=memory)._teacher
    moduli = np.abs(np.linalg.eigvals(transition))
    assert transition.shape == (10, 10) and memory - 1e-9 <= moduli.min() and moduli.max() < 1


def test_teachers_with_one_seed_are_one_teacher() -> None:
    one, other, another = (build("linear-teacher", teacher=seed)._teacher[0] for seed in (42, 42, 43))
    assert np.array_equal(one, other) and not np.allclose(one, another)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_delayed_xor_by_hand(bits: int) -> None:
    batch = build("delayed-xor", length=20, delay=3, bits=bits).sample(np.random.default_rng(0), 5)
    for step in range(20):
        assert (batch.counted[step] == (step >= 3 * bits)).all()
        if step >= 3 * bits:
            past = [batch.inputs[step - 3 * k] for k in range(1, bits + 1)]
            assert np.array_equal(batch.targets[step], np.sum(past, 0) % 2)


def test_decks_are_shown_without_replacement() -> None:
    batch = build("repeat-previous", decks=2).sample(np.random.default_rng(0), 20)
    assert all(Counter(column) == dict.fromkeys(range(4), 26) for column in batch.inputs.T.tolist())
    assert np.array_equal(batch.targets[3:], batch.inputs[:-3]) and batch.counted[3:].all()
    again = build("autoencode").sample(np.random.default_rng(0), 20)
    assert np.array_equal(again.targets[52:], again.inputs[51::-1]) and (again.inputs[52:] == 4).all()


def test_counts_are_of_the_kind_in_question() -> None:
    batch = build("count-recall", kinds="suits").sample(np.random.default_rng(0), 10)
    for column in range(10):
        cards, asked = batch.inputs[:, column, :4].argmax(1).tolist(), batch.inputs[:, column, 4:].argmax(1).tolist()
        counts = [cards[: step + 1].count(kind) for step, kind in enumerate(asked)]
        assert batch.targets[:, column].tolist() == counts and max(Counter(cards).values()) == 13


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9), ("[MIN 4 7 ]", 4), ("[MED 1 2 9 ]", 2), ("[MED 1 2 5 9 ]", 3),
        ("[SM 9 9 5 ]", 3), ("[SM [MED 0 1 ] [MAX 3 [SM 9 9 ] ] ]", 8), ("7", 7),
    ],
)  # fmt: skip
def test_values_of_lists_are_those_of_a_person(text: str, value: int) -> None:
    assert listops.value([listops.SYMBOLS.index(symbol) for symbol in text.split()]) == value


def test_trees_are_whole_have_the_wanted_lengths_and_their_own_value() -> None:
    shape = listops.Shape(depth=5, arguments=4, above=8, below=60)
    found = listops.trees(np.random.default_rng(0), shape, 400)
    operations = Counter[str]()
    for start, length, value in zip(found.starts, found.lengths, found.values, strict=True):
        symbols = found.symbols[start : start + length].tolist()
        assert 8 < length < 60 and listops.value(symbols) == value
        deep = np.cumsum([(s >= 10) - 2 * (s == listops.CLOSE) for s in symbols])
        assert deep[-1] == 0 and deep[:-1].min() > 0 and deep.max() <= 4
        operations.update(listops.SYMBOLS[s] for s in symbols if 10 <= s < listops.CLOSE)
    assert min(operations.values()) > 0.8 * max(operations.values())


def test_lists_of_a_length_that_hardly_any_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listops, "FRUITLESS", 2)
    task = build("listops", depth=2, arguments=2, least=30, length=40)
    with pytest.raises(UserError, match="no list of 2 levels and 2 arguments has between 30 and 40 symbols"):
        task.sample(np.random.default_rng(0), 1)
