"""Number names: the pairs are num2words', and numbers held out are never trained on."""

from __future__ import annotations

import num2words
import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import DataError, Task
from longlag_tasks._cut import cut, joined


def numbers(**options: object) -> Task:
    return TaskSpec(name="number-names", **options).build()


def sources(task: Task, split: str, size: int = 20_000) -> set[str]:
    rng = np.random.default_rng(0)
    batch = task.sample(rng, size) if split == "training" else task.split(split, rng, size)
    return {task.source_text(batch, b) for b in range(batch.size)}


def test_every_number_is_in_one_split_and_its_name_is_that_of_the_library() -> None:
    task = numbers(highest=999)
    found = [sources(task, split) for split in ("training", "validation", "test")]
    assert [len(split) for split in found] == [800, 100, 100]
    assert set().union(*found) == {num2words.num2words(n, lang="en") for n in range(1000)}
    batch = task.split("test", np.random.default_rng(0), 100)
    french = {num2words.num2words(n, lang="en"): num2words.num2words(n, lang="fr") for n in range(1000)}
    lengths = batch.target_lengths
    assert lengths is not None
    for b in range(100):
        said = task.target_text(batch.targets[: lengths[b] - 1, b].tolist())
        assert said == french[task.source_text(batch, b)]


def test_a_range_is_held_out_whole() -> None:
    task = numbers(source="digits", highest=999, held_out="range", low=400, high=599)
    assert sources(task, "validation") | sources(task, "test") == {str(n) for n in range(400, 600)}
    assert not sources(task, "training") & {str(n) for n in range(400, 600)}


@pytest.mark.parametrize("text", ["quatre-vingt-dix-neuf mille", "le 1er mars 2021", "a  b", "九十 九", "l’an 12"])
def test_text_is_cut_without_loss(text: str) -> None:
    assert joined(cut(text, "words")) == text == joined(cut(text, "characters"))


def test_words_signs_and_digits_are_symbols() -> None:
    assert cut("neuf cent quatre-vingt 12", "words") == [" neuf", " cent", " quatre", "-", "vingt", " 1", "2"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": "en"}, "source and target are both 'en'"),
        ({"held_out": "range", "low": 5000, "high": 20_000}, "low < high < highest"),
        ({"highest": 5}, "highest: .*greater than or equal to 99"),
    ],
)
def test_bad_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'number-names': .*{sentence}"):
        TaskSpec(name="number-names", **options)


def test_a_language_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"num2words knows no language 'klingon'; it has .*fr"):
        _ = numbers(target="klingon").signature


def test_a_language_that_writes_words_together_needs_characters() -> None:
    with pytest.raises(DataError, match=r"unit: 10000 texts such as 'neuntausend.* take characters"):
        _ = numbers(target="de").signature
    assert numbers(target="de", unit="characters").signature.outputs < 30


def test_what_is_held_out_changes_no_vocabulary() -> None:
    assert numbers(held_out="range").signature == numbers().signature
