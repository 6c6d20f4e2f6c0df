"""MAD, induction heads, the phonebook and the further kinds of associative recall, by what a reader sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec, load_run
from longlag_tasks._mad import again


def build(name: str, **options: Any) -> Any:
    return TaskSpec(name=name, **options).build()


def test_a_key_is_asked_for_exactly_where_it_came_before() -> None:
    key = np.random.default_rng(0).integers(0, 6, (9, 40))
    wanted = [[k < 5 and k in column[:p] for k, p in zip(column, range(9), strict=True)] for column in key.T.tolist()]
    assert np.array_equal(again(key, 5), np.array(wanted).T), "a key of 5 and more counts for nothing"


def test_noise_stands_in_place_of_whole_pairs_as_often_as_asked() -> None:
    batch = build("mad", variant="noisy-recall", noise=0.4).sample(np.random.default_rng(0), 2000)
    pairs = batch.inputs.reshape(64, 2, -1) >= 16
    assert np.array_equal(pairs[:, 0], pairs[:, 1])
    assert pairs[:-2, 0].mean() == pytest.approx(0.4, abs=0.006) and not pairs[-2:].any()


def test_fuzzy_keys_have_one_value_in_a_sequence() -> None:
    batch = build("mad", variant="fuzzy-recall").sample(np.random.default_rng(0), 200)
    sizes = set()
    for tokens in batch.inputs.T.tolist():
        text = "".join("k" if 0 < t < 8 else "v" if t else "." for t in tokens)
        assert text.lstrip(".").find(".") < 0 and text.lstrip(".").startswith("k") and text.endswith("v")
        book: dict[tuple[int, ...], tuple[int, ...]] = {}
        at = len(text) - len(text.lstrip("."))
        while at < len(tokens):
            value = text.index("v", at)
            end = text.find("k", value) if text.find("k", value) > 0 else len(text)
            key, said = tuple(tokens[at:value]), tuple(tokens[value:end])
            assert book.setdefault(key, said) == said and len(set(said)) == len(said)
            sizes |= {len(key), len(said)}
            at = end
        assert len(book) <= 8
    assert sizes == {1, 2, 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 16}, "length should be even and above 16"),
        ({"variant": "selective-copying", "length": 20}, "length should be at least 33"),
        ({"variant": "fuzzy-recall", "length": 9}, "length should be at least 12"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("mad", **options)


def test_the_trigger_stands_anywhere_but_where_nothing_follows() -> None:
    batch = build("induction-heads", length=5, vocabulary=4).sample(np.random.default_rng(0), 3000)
    places = (batch.inputs[:-1] == 3).argmax(0)
    assert ((batch.inputs == 3).sum(0) == 2).all() and (batch.inputs[-1] == 3).all()
    assert np.abs(np.bincount(places, minlength=3) / 3000 - 1 / 3).max() < 0.05
    assert np.array_equal(batch.targets, batch.inputs[places + 1, np.arange(3000)])


def test_a_phonebook_asks_for_a_line_that_is_no_example() -> None:
    task = build("phonebook", lines=4, letters=2, examples=2)
    batch = task.sample(np.random.default_rng(0), 50)
    for index in range(50):
        lines = [line.split(":") for line in task.describe(batch, index).replace("lines   ", "").split()]
        book, examples = lines[:4], lines[4:6]
        assert len({name for name, _ in book}) == 4 and all(len(number) == 10 for _, number in book)
        assert all(line in book for line in examples) and examples[0] != examples[1]
        name, answer = lines[7][0], lines[9][0]
        assert [name, answer] in book and [name, answer] not in examples and answer[0] in "6789"


@pytest.mark.parametrize("filler", ["blank", "random"])
def test_the_last_value_of_an_overwritten_key_counts(filler: str) -> None:
    task = build("associative-recall", pairs=4, overwritten=2, filler=filler)
    batch = task.sample(np.random.default_rng(0), 50)
    for index in range(50):
        pairs = batch.inputs[:12, index].reshape(6, 2).tolist()
        assert len({key for key, _ in pairs}) == 4 and len({value for _, value in pairs}) == 6
        book = dict(pairs)
        counted = np.flatnonzero(batch.counted[:, index])
        assert {int(batch.inputs[q, index]): int(batch.targets[q, index]) for q in counted} == book
        assert (counted % 2 == 0).all() and len(counted) == 4


def test_a_key_of_two_tokens_is_asked_for_with_both() -> None:
    task = build("associative-recall", pairs=5, key_tokens=2, vocabulary=12)
    batch = task.sample(np.random.default_rng(0), 50)
    shared = 0
    for index in range(50):
        tokens = batch.inputs[:, index].tolist()
        book = {(tokens[k], tokens[k + 1]): tokens[k + 2] for k in range(0, 15, 3)}
        assert len(book) == 5
        shared += len({a for a, _ in book}) < 5
        counted = np.flatnonzero(batch.counted[:, index])
        assert {(tokens[q - 1], tokens[q]): int(batch.targets[q, index]) for q in counted} == book
    assert shared > 25, "one token alone is no key"


def test_runs_with_plain_keys_keep_their_identity() -> None:
    plain = load_run({"task": "associative-recall", "cell": "gru"})
    assert "overwritten" not in plain.canonical() and "key_tokens" not in plain.canonical()
    with pytest.raises(UserError, match="length should be at least 40"):
        build("associative-recall", length=32, pairs=8, key_tokens=2, vocabulary=64)
