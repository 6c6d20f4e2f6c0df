"""Series classification: the archive's sizes, what validates, scaling, and what is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks._packages import SKTIME_SERIES
from longlag_tasks.series_classification import DIGESTS
from tests.tasks.packages import needing

recorded = needing(SKTIME_SERIES)


def series(**options: object) -> Task:
    return TaskSpec(name="series-classification", **options).build()


def parts(task: Task) -> dict[str, list[tuple[bytes, int]]]:
    return {
        name: [
            (values.values[a:b].tobytes(), int(k))
            for a, b, k in zip(values.starts, values.starts[1:], classes, strict=False)
        ]
        for name, (values, classes) in task._data.splits.items()
    }


@recorded
@pytest.mark.parametrize(
    ("name", "counts", "steps", "classes"),
    [
        ("ACSF1", (80, 20, 100), (1460, 1460), 10),
        ("ArrowHead", (30, 6, 175), (251, 251), 3),
        ("GunPoint", (40, 10, 150), (150, 150), 2),
        ("OSULeaf", (159, 41, 242), (427, 427), 6),
        ("PLAID", (424, 108, 537), (100, 1344), 11),
    ],
)
def test_sizes_are_those_of_the_archive_and_nothing_is_in_two_splits(
    name: str, counts: tuple[int, ...], steps: tuple[int, int], classes: int
) -> None:
    task = series(series=name)
    found = parts(task)
    assert tuple(len(part) for part in found.values()) == counts
    lengths = np.concatenate([np.diff(values.starts) for values, _ in task._data.splits.values()])
    assert (lengths.min(), lengths.max()) == steps
    assert task.signature.outputs == classes
    values = [{values for values, _ in part} for part in found.values()]
    assert not (values[0] & values[1] or values[0] & values[2] or values[1] & values[2])


@recorded
def test_what_is_read_is_what_stands_in_the_file() -> None:
    """Read here without the task's reader: the last series of the test, unscaled again."""
    path = SKTIME_SERIES.folder() / "datasets" / "data" / "PLAID" / "PLAID_TEST.ts"
    *_, last = path.read_text(encoding="utf-8").splitlines()
    values, label = last.rsplit(":", 1)
    wanted = np.array(values.split(","), float)
    task = series(series="PLAID")
    found, classes = task._data.splits["test"]
    scaled = found.values[found.starts[-2] : found.starts[-1], 0]
    slope, shift = np.polyfit(scaled, wanted, 1)
    assert scaled * slope + shift == pytest.approx(wanted, abs=1e-3)
    assert task._data.names[classes[-1]] == label
    training = task._data.splits["training"][0].values
    assert training.mean() == pytest.approx(0, abs=1e-4) and training.std() == pytest.approx(1, abs=1e-4)


@recorded
def test_every_class_validates_by_its_share() -> None:
    counts = {name: np.bincount(k, minlength=6) for name, (_, k) in series(series="OSULeaf")._data.splits.items()}
    whole = counts["training"] + counts["validation"]
    assert whole.tolist() == [34, 29, 33, 53, 36, 15]
    assert counts["validation"].tolist() == [round(0.2 * n) for n in whole]


@recorded
def test_noise_is_for_training_only_and_not_on_padding() -> None:
    clean, noisy = (series(series="PLAID", noise=noise).sample(np.random.default_rng(1), 300) for noise in (0, 0.5))
    exists = clean.exists()
    assert not noisy.inputs[~exists].any()
    assert (noisy.inputs - clean.inputs)[exists].std() == pytest.approx(0.5, rel=0.02)
    same = [series(series="PLAID", noise=n).split("test", np.random.default_rng(1), 9).inputs for n in (0, 0.5)]
    assert np.array_equal(*same)


def write(folder: Path, lines: list[str], part: str = "TRAIN", names: str = "rest walk") -> Path:
    path = folder / f"Steps_{part}.ts"
    path.write_text("\n".join([f"@classLabel true {names}", "@data", *lines]) + "\n", encoding="utf-8")
    return path


def line(name: str, start: int, steps: int, dimensions: int = 2) -> str:
    return ":".join([",".join(str(start + k) for k in range(steps))] * dimensions + [name])


def test_files_of_your_own_may_have_several_dimensions_and_lengths(tmp_path: Path) -> None:
    rows = [line(name, 10 * n, 5 + n) for n in range(5) for name in ("rest", "walk")]
    path = write(tmp_path, rows)
    write(tmp_path, [line("walk", 99, 4), rows[0]], "TEST")
    task = series(path=str(path))
    batch = task.split("test", np.random.default_rng(0), 10)
    assert sorted(batch.lengths.tolist()) == [4, 5] and batch.inputs.shape == (5, 2, 2)
    assert [len(part) for part in parts(task).values()] == [6, 2, 2], "rows 1 and 2 are values of the test"
    assert "class  walk of rest, walk (4 steps)" in [task.describe(batch, b).splitlines()[-1] for b in range(2)]
    assert len(task.options.sha256) == 64


@pytest.mark.parametrize(
    ("train", "test", "options", "sentence"),
    [
        ([line("run", 0, 5)], [], {}, "Steps_TRAIN.ts, line 3: the label 'run' is not one of rest, walk"),
        ([line("rest", 0, 5), line("walk", 1, 5, 3)], [], {}, "Steps_TRAIN.ts, line 4: has 3 dimensions, not 2"),
        ([line("rest", 0, 5)], [line("rest", 9, 5, 1)], {}, "Steps_TEST.ts, line 3: has 1 dimensions, not 2"),
        ([line("rest", 0, 5)], [], {}, "Steps_TEST.ts: holds no sequence behind @data"),
        ([line("rest", 0, 5)], [line("rest", 9, 5)], {}, "leaves no series to validate"),
        ([line("rest", k, 5) for k in range(2)], [line("rest", 9, 5)], {"held_out": 0.9}, "to train on in some class"),
    ],
)
def test_bad_files_give_one_clear_sentence(
    tmp_path: Path, train: list[str], test: list[str], options: dict[str, object], sentence: str
) -> None:
    path = write(tmp_path, train)
    write(tmp_path, test, "TEST")
    with pytest.raises(UserError, match=sentence) as caught:
        series(path=str(path), **options).sample(np.random.default_rng(0), 2)
    assert "\n" not in str(caught.value)


def test_both_files_have_the_same_classes(tmp_path: Path) -> None:
    path = write(tmp_path, [line("rest", k, 5) for k in range(9)])
    write(tmp_path, [line("rest", 9, 5)], "TEST", "rest run")
    with pytest.raises(UserError, match=r"Steps_TEST\.ts: has the classes rest, run, not rest, walk"):
        series(path=str(path)).sample(np.random.default_rng(0), 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path": "Steps_TRAIN.ts"}, r"Steps_TRAIN.ts: there is no such file"),
        ({"path": "Steps.ts"}, r"path: should be a file NAME_TRAIN.ts, with NAME_TEST.ts beside it"),
        ({"path": "Steps_TRAIN.ts", "sha256": "0" * 64, "series": "PLAID"}, "series is for what a package brings"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        series(**options)


def test_other_files_in_the_package_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(type(SKTIME_SERIES), "folder", lambda package: tmp_path)
    with pytest.raises(UserError, match=f"ACSF1_TRAIN.ts is not the file .* should be {DIGESTS['ACSF1_TRAIN.ts']}"):
        series(held_out=0.21).sample(np.random.default_rng(0), 1)
