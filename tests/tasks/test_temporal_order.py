"""Temporal order: places, symbols and classes against the papers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed

PLACES = {  # first and last step at which a symbol that counts may stand, T = 100
    ("1997", 2): [(10, 20), (50, 60)],
    ("1997", 3): [(10, 20), (33, 43), (66, 76)],
    ("pascanu", 2): [(10, 19), (50, 59)],
    ("pascanu", 3): [(10, 19), (30, 39), (60, 69)],
}


def order(**options: object) -> Task:
    return TaskSpec(name="temporal-order", **options).build()


def draw(task: Task, size: int = 20_000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


SPECIAL = {"1997": 6, "pascanu": 4}  # the first of the two symbols that count


def places(batch: Batch, variant: str, symbols: int) -> Array:
    """``[B, symbols]``, the steps at which the symbols that count stand."""
    counts = SPECIAL[variant] <= batch.inputs.T
    assert (counts.sum(1) == symbols).all()
    return np.nonzero(counts)[1].reshape(-1, symbols)


@pytest.mark.parametrize(("variant", "symbols"), PLACES)
def test_places_are_uniform_and_independent_on_the_published_ranges(variant: str, symbols: int) -> None:
    found = places(draw(order(variant=variant, symbols=symbols)), variant, symbols)
    for column, (start, stop) in zip(found.T, PLACES[variant, symbols], strict=True):
        assert (column.min(), column.max()) == (start, stop)
        assert stats.chisquare(np.bincount(column - start)).pvalue > UNLIKELY
    table = np.zeros((11, 11))
    np.add.at(table, tuple(found[:, :2].T - [[first] for first, _ in PLACES[variant, symbols][:2]]), 1)
    used = table[table.any(1)][:, table.any(0)]
    assert stats.chi2_contingency(used).pvalue > UNLIKELY


@pytest.mark.parametrize(("variant", "symbols"), PLACES)
def test_class_is_the_order(variant: str, symbols: int) -> None:
    batch = draw(order(variant=variant, symbols=symbols), 500)
    for b, steps in enumerate(places(batch, variant, symbols)):
        digits = [int(batch.inputs[step, b]) - SPECIAL[variant] for step in steps]
        assert batch.targets[b] == int("".join(map(str, digits)), 2)


def test_the_rules_of_1997_are_the_classes_in_order() -> None:
    """X,X -> Q; X,Y -> R; Y,X -> S; Y,Y -> U, and the eight of 6b, in the order in which the paper lists them."""
    for symbols in (2, 3):
        task = order(symbols=symbols)
        for number, word in enumerate(itertools.product("XY", repeat=symbols)):
            inputs = np.full((100, 1), 2)
            for symbol, (start, _) in zip(word, PLACES["1997", symbols], strict=True):
                inputs[start] = "EBabcdXY".index(symbol)
            assert task.oracle(Batch(inputs, np.zeros(1, np.int64))).argmax() == number


@pytest.mark.parametrize(("variant", "symbols"), PLACES)
def test_classes_are_equally_likely(variant: str, symbols: int) -> None:
    counts = np.bincount(draw(order(variant=variant, symbols=symbols)).targets, minlength=2**symbols)
    assert counts.size == 2**symbols
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("variant", ["1997", "pascanu"])
def test_everything_else_is_a_uniform_distractor(variant: str) -> None:
    batch = draw(order(variant=variant), 3000)
    inputs, first = batch.inputs, SPECIAL[variant] - 4
    if variant == "1997":
        assert (inputs[0] == 0).all()  # E
        assert (inputs[batch.lengths - 1, np.arange(batch.size)] == 1).all()  # B, the trigger
        middle = np.arange(batch.steps)[:, None] < batch.lengths - 1
        middle[0] = False
        inputs = inputs[middle]
    counts = np.bincount(inputs.ravel(), minlength=first + 6)
    assert counts[:first].sum() == 0
    assert stats.chisquare(counts[first : first + 4]).pvalue > UNLIKELY


def test_lengths_of_1997_are_uniform_on_100_to_110() -> None:
    batch = draw(order(), 20_000)
    counts = np.bincount(batch.lengths)[100:]
    assert counts.size == 11
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_vocabularies_are_the_published_ones() -> None:
    assert order().signature.input == Tokens(8)
    assert order(variant="pascanu").signature.input == Tokens(6)
    assert [order(symbols=k).signature.outputs for k in (2, 3)] == [4, 8]
    assert draw(order(variant="pascanu"), 5).lengths is None


@pytest.mark.parametrize("length", [10, 11, 57, 1000])
@pytest.mark.parametrize(("variant", "symbols"), PLACES)
def test_places_scale_with_the_length(variant: str, symbols: int, length: int) -> None:
    found = places(draw(order(variant=variant, symbols=symbols, length=length), 2000), variant, symbols)
    for column, (start, stop) in zip(found.T, PLACES[variant, symbols], strict=True):
        assert column.min() >= start * length // 100
        assert column.max() <= (stop + (variant == "pascanu")) * length // 100


def test_confident_means_all_outputs_within_0_3() -> None:
    task = order()
    batch = Batch(np.zeros((100, 3), np.int64), np.array([0, 1, 2]))
    chances = np.array([[0.71, 0.29, 0, 0], [0.31, 0.69, 0, 0], [0.1, 0.1, 0.75, 0.05]])
    measured = task.measure(np.log(chances + 1e-12), batch)
    assert measured["confident"] == pytest.approx(2 / 3)
    assert measured["accuracy"] == 1
    assert measured["cross_entropy"] == pytest.approx(-np.mean(np.log([0.71, 0.69, 0.75])))


@pytest.mark.parametrize(
    ("options", "accuracy", "confident", "solved"),
    [
        ({}, 1.0, 0.999, True),
        ({}, 1.0, 0.998, False),
        ({"variant": "pascanu"}, 0.99, 0.0, True),
        ({"variant": "pascanu"}, 0.989, 1.0, False),
        ({"variant": "pascanu", "solved_share": 0.9}, 0.9, 0.0, True),
    ],
)
def test_solved(options: dict[str, object], accuracy: float, confident: float, solved: bool) -> None:
    metrics = {"cross_entropy": 0.1, "accuracy": accuracy, "confident": confident}
    assert order(**options).solved(metrics) is solved


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 9}, "length: .*greater than or equal to 10"),
        ({"symbols": 4}, "symbols: .*2 or 3"),
        ({"variant": "2013"}, "variant: .*'1997' or 'pascanu'"),
        ({"symbol": 2}, "no field 'symbol'; did you mean 'symbols'"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'temporal-order': .*{sentence}") as caught:
        TaskSpec(name="temporal-order", **options)
    assert "\n" not in str(caught.value)


def test_description_marks_the_symbols_that_count() -> None:
    inputs = np.full((60, 1), 2)
    inputs[[0, 12, 51, 59], 0] = [0, 6, 7, 1]
    rows = order(length=60).describe(Batch(inputs, np.array([1])), 0).splitlines()
    assert rows[0][13 + 12] == "X"
    assert rows[1].index("^") == 13 + 12
    assert rows[2][13 + 1] == "Y"
    assert rows[-1] == "class   1, XY"
