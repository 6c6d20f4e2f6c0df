"""Characters: the generated text is the same everywhere, its entropy is what it says, and windows are of the text."""

from __future__ import annotations

import hashlib
import re
from math import log2
from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks._prose import ADJECTIVES, DEEDS, DEPTH, NOUNS, VERBS, Author, prose


def characters(**options: object) -> Task:
    return TaskSpec(name="characters", **options).build()


def test_the_default_text_has_these_very_bytes() -> None:
    text = characters().text
    assert len(text) == 200_000
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "695711e73357fa1ca8e87167bc33509983035d340ac0cdfe4dd5266f124c3f75"
    )
    assert characters(text_seed=1).text != text
    assert text.startswith(characters(characters=1000).text)


def test_verbs_agree_and_marks_close() -> None:
    text, _ = prose(100_000, 3)
    whole = text[: text.rindex("\n")]
    assert whole.count("(") == whole.count(")") > 100
    assert whole.count('"') % 2 == 0
    words = "|".join(NOUNS), "|".join((*VERBS, *DEEDS))
    subjects = re.findall(rf"[.)\n] The (?:\w+ )?(?:{words[0]})(s?) (?:{words[1]})(s?) ", whole)
    assert len(subjects) > 100
    assert all(bool(noun) != bool(verb) for noun, verb in subjects)
    assert {noun for noun, _ in subjects} == {"", "s"}


def test_bits_are_those_of_the_choices() -> None:
    """A phrase without a relative clause: one or many, an adjective one time in three, a noun."""
    author = Author(0)
    for _ in range(5000):
        author.person(DEPTH)
    third = -(log2(1 / 3) + 2 * log2(2 / 3)) / 3
    wanted = 1 + third + log2(len(ADJECTIVES)) / 3 + log2(len(NOUNS))
    assert author.bits / 5000 == pytest.approx(wanted, rel=0.01)
    assert 0.4 < prose(200_000, 0)[1] < 0.5


def test_targets_are_the_next_characters_and_splits_follow_in_time() -> None:
    task = characters(characters=5000, length=40)
    batch = task.sample(np.random.default_rng(0), 200)
    assert np.array_equal(batch.inputs[1:], batch.targets[:-1])
    training = task.text[:4500]
    for b in range(200):
        assert task.spelled(batch.inputs[:, b]).replace("↵", "\n") in training
    later = [task.split(name, np.random.default_rng(0), 100) for name in ("validation", "test")]
    for split, part in zip(later, (task.text[4500:4750], task.text[4750:]), strict=True):
        due = split.targets.T[split.counted.T]
        assert task.spelled(due).replace("↵", "\n") == "".join(
            c if c in task.alphabet else "\N{REPLACEMENT CHARACTER}" for c in part
        )


def test_unknown_characters_are_one_class(tmp_path: Path) -> None:
    path = tmp_path / "it.txt"
    path.write_text("abcab" * 200 + "xäbc🙂" * 10, encoding="utf-8")
    task = characters(path=str(path), length=10)
    assert task.alphabet == "abc"
    test = task.split("test", np.random.default_rng(0), 100)
    assert task.signature.outputs == 4
    assert set(np.unique(test.targets)) == {0, 1, 2, 3}


def test_bits_per_character_and_accuracy() -> None:
    task = characters(characters=2000, length=20)
    batch = task.sample(np.random.default_rng(0), 10)
    count = task.signature.outputs
    measured = task.measure(np.zeros((*batch.targets.shape, count)), batch)
    assert measured["bits_per_character"] == pytest.approx(np.log2(count))


def test_warmup_does_not_count() -> None:
    task = characters(characters=2000, length=20, warmup=5)
    batch = task.sample(np.random.default_rng(0), 10)
    outputs = task.oracle(batch)
    outputs[:5] = 0
    assert task.measure(outputs, batch)["bits_per_character"] == pytest.approx(0, abs=1e-9)


def test_bad_files_give_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "it.txt"
    for data, sentence in (
        (b"", "holds no text"),
        (b" \n\n", "holds no text"),
        (b"short", "leaves 5 values to train on, fewer than the 101 of one window"),
        (b"fine\nnot \xe4 so", "line 2: is not UTF-8"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=sentence):
            characters(path=str(path)).baseline()
    with pytest.raises(UserError, match="there is no such file"):
        characters(path=str(tmp_path / "none.txt"))
    path.write_text("text " * 100)
    with pytest.raises(UserError, match="leave them out beside a path"):
        characters(path=str(path), text_seed=1)
    with pytest.raises(UserError, match="warmup should be below the length"):
        characters(warmup=100)
