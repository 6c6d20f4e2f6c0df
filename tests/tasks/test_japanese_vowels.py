"""Japanese Vowels: the published sizes, splits apart, and what is said of damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks._packages import SKTIME
from longlag_tasks._ts import read
from tests.tasks.packages import needing

recorded = needing(SKTIME)


def vowels(**options: object) -> Task:
    return TaskSpec(name="japanese-vowels", **options).build()


@recorded
def test_sizes_are_the_published_ones_and_nothing_is_in_two_splits() -> None:
    task = vowels()
    sets = {}
    for name, count in (("validation", 45), ("test", 370)):
        batch = task.split(name, np.random.default_rng(0), 10_000)
        assert batch.size == count
        assert batch.lengths.min() >= 7 and batch.lengths.max() <= 29
        sets[name] = {batch.inputs[:n, b].tobytes() for b, n in enumerate(batch.lengths)}
    training = vowels(noise=0).sample(np.random.default_rng(0), 5000)
    sets["training"] = {training.inputs[:n, b].tobytes() for b, n in enumerate(training.lengths)}
    assert len(sets["training"]) == 225
    assert not (sets["training"] & sets["test"] or sets["training"] & sets["validation"])
    assert not sets["validation"] & sets["test"]
    speakers = np.bincount(task.split("test", np.random.default_rng(0), 370).targets)
    assert speakers.tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]


@recorded
def test_noise_is_for_training_only_and_in_units_of_each_coefficient() -> None:
    clean, noisy = (vowels(noise=noise).sample(np.random.default_rng(1), 3000) for noise in (0, 0.5))
    exists = clean.exists()
    assert not noisy.inputs[~exists].any()
    ratio = (noisy.inputs - clean.inputs)[exists].std(0) / clean.inputs[exists].std(0)
    assert ratio == pytest.approx(np.full(12, 0.5), rel=0.03)
    same = [vowels(noise=noise).split("test", np.random.default_rng(1), 50).inputs for noise in (0, 0.5)]
    assert np.array_equal(*same)


def write(folder: Path, lines: list[str], part: str = "TRAIN") -> Path:
    path = folder / f"JapaneseVowels_{part}.ts"
    path.write_text("\n".join(["@classLabel true 1 2 3 4 5 6 7 8 9", "@data", *lines]) + "\n", encoding="utf-8")
    return path


def line(speaker: int, steps: int = 7, dimensions: int = 12) -> str:
    return ":".join([",".join(str(0.1 * speaker * k) for k in range(steps))] * dimensions + [str(speaker)])


def test_files_of_your_own_are_read(tmp_path: Path) -> None:
    write(tmp_path, [line(speaker, 7 + n) for n in range(6) for speaker in range(1, 10)])
    write(tmp_path, [line(speaker) for speaker in range(1, 10)], "TEST")
    task = vowels(path=str(tmp_path), held_out=2)
    assert task.split("validation", np.random.default_rng(0), 100).size == 18
    assert len(task.options.sha256) == 64


def test_a_changed_file_is_not_the_same_run(tmp_path: Path) -> None:
    for part in ("TRAIN", "TEST"):
        write(tmp_path, [line(speaker) for speaker in range(1, 10)], part)
    before = TaskSpec(name="japanese-vowels", path=str(tmp_path))
    write(tmp_path, [line(speaker) for speaker in range(1, 9)], "TEST")
    with pytest.raises(UserError, match="has changed"):
        before.build().sample(np.random.default_rng(0), 2)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([line(1), line(12)], "line 4: the label '12' is not one of 1, 2"),
        ([line(1, dimensions=11)], "line 3: has 11 dimensions, not 12"),
        ([line(1).replace("0.1", "nan", 1)], "line 3: dimension 1 is nan at step 2"),
        ([line(1).replace("0.1", "loud", 1)], "line 3: could not convert string to float"),
        ([line(1).replace("0.1,", "", 1)], "line 3: its dimensions have several lengths: 6, 7"),
        ([], "holds no sequence behind @data"),
    ],
)
def test_damaged_files_are_named_with_their_line(tmp_path: Path, lines: list[str], sentence: str) -> None:
    path = write(tmp_path, lines)
    with pytest.raises(UserError) as caught:
        read(path, 12)
    assert str(path) in str(caught.value) and sentence in str(caught.value)


def test_missing_and_undecodable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"JapaneseVowels_TRAIN\.ts: there is no such file"):
        vowels(path=str(tmp_path))
    path = write(tmp_path, [])
    path.write_bytes(path.read_bytes() + b"\xff\xfe")
    with pytest.raises(UserError, match="line 3: is not UTF-8"):
        read(path, 12)
