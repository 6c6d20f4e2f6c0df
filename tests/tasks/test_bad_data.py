"""Damage that any file may have, to every loader: one sentence that names the file, and the row where there is one.

What is particular to a format (labels outside the set, columns, sample rates) is tested with its task.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from longlag.errors import UserError, clipped
from longlag.spec import TaskSpec
from longlag_tasks._rolls import packed
from tests.tasks import corpora

Made = tuple[Path, dict[str, Any]]
"""The file to be damaged, and the task that reads it."""

SERIES = "a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(400))
LINES = "".join(f"the dog number {n} saw the cat\tle chien {n} voyait le chat\n" for n in range(40))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def series(folder: Path) -> Made:
    path = written(folder / "it.csv", SERIES)
    return path, {"name": "forecasting", "path": str(path)}


def text(folder: Path) -> Made:
    path = written(folder / "it.txt", "some text to learn\n" * 200)
    return path, {"name": "characters", "path": str(path)}


def pairs(folder: Path) -> Made:
    path = written(folder / "it.tsv", LINES)
    return path, {"name": "parallel-corpus", "tsv": str(path)}


def objects(folder: Path) -> Made:
    rows = (dict(zip(("source", "target"), line.split("\t"), strict=True)) for line in LINES.splitlines())
    path = written(folder / "it.jsonl", "\n".join(map(json.dumps, rows)))
    return path, {"name": "parallel-corpus", "jsonl": str(path)}


def sentences(folder: Path) -> Made:
    for side, name in enumerate(("it.en", "it.fr")):
        written(folder / name, "\n".join(line.split("\t")[side] for line in LINES.splitlines()))
    path = folder / "it.fr"
    return path, {"name": "parallel-corpus", "text": str(folder / "it.en"), "text_target": str(path)}


def captions(folder: Path) -> Made:
    names = [f"{n}.jpg" for n in range(30)]
    images = [{"filename": name, "sentences": [{"raw": f"a dog on stone {n}"}]} for n, name in enumerate(names)]
    path = written(folder / "it.json", json.dumps({"images": images}))
    np.savez_compressed(folder / "it.npz", names=np.array(names), features=np.ones((30, 7)))
    return path, {"name": "captioning", "path": str(path), "features": str(folder / "it.npz")}


def features(folder: Path) -> Made:
    _, task = captions(folder)
    rng = np.random.default_rng(0)
    names = np.array([f"{n}.jpg" for n in range(30)])
    np.savez_compressed(folder / "it.npz", names=names, features=rng.random((30, 50)))
    return folder / "it.npz", task


def rolls(folder: Path) -> Made:
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 2, (60, 88)).astype(np.uint8) for _ in range(3)]
    (folder / "it.npz").write_bytes(packed(dict.fromkeys(("training", "validation", "test"), pieces)))
    return folder / "it.npz", {"name": "chorales", "path": str(folder / "it.npz")}


def notes(folder: Path) -> Made:
    path = written(folder / "it.json", json.dumps({name: [[[60], [62]]] * 9 for name in ("train", "valid", "test")}))
    return path, {"name": "chorales", "path": str(path)}


def ink(folder: Path) -> Made:
    for n in range(9):
        points = "".join(f'<Point x="{n * k % 13}" y="{k * k % 11}"/>' for k in range(20))
        stroke = f"<StrokeSet><Stroke>{points}</Stroke></StrokeSet>"
        written(folder / f"{n}.xml", f'<?xml version="1.0" encoding="utf-8"?>\n<Line>{stroke}</Line>')
    return folder / "3.xml", {"name": "pen-strokes", "path": str(folder)}


def vowels(folder: Path) -> Made:
    for part in ("TRAIN", "TEST"):
        rows = [":".join([",".join(["0.1"] * 7)] * 12 + [str(k)]) for k in range(1, 10) for _ in range(8)]
        head = f"@classLabel true {' '.join(map(str, range(1, 10)))}\n@data\n"
        written(folder / f"JapaneseVowels_{part}.ts", head + "\n".join(rows))
    return folder / "JapaneseVowels_TEST.ts", {"name": "japanese-vowels", "path": str(folder)}


def archive(folder: Path) -> Made:
    for part, first in (("TRAIN", 0), ("TEST", 50)):
        rows = [f"{first + n},{n},2.5:{k}" for n in range(10) for k in ("rest", "walk")]
        written(folder / f"it_{part}.ts", "@classLabel true rest walk\n@data\n" + "\n".join(rows))
    return folder / "it_TEST.ts", {"name": "series-classification", "path": str(folder / "it_TRAIN.ts")}


def table(folder: Path) -> Made:
    corpora.transcripts(folder)
    return folder / "metadata.csv", {"name": "speech-corpus", "path": str(folder), "layout": "transcripts"}


def flac(folder: Path) -> Made:
    _, task = table(folder)
    written(folder / "metadata.csv", (folder / "metadata.csv").read_text().replace("01.wav", "01.flac"))
    soundfile.write(folder / "01.flac", corpora.tones(tuple("a dark suit"), 640, 1), corpora.RATE)
    return folder / "01.flac", task


def phones(folder: Path) -> Made:
    corpora.timit(folder)
    return folder / "TRAIN" / "DR1" / "FTR0" / "SX1.PHN", {"name": "speech-corpus", "path": str(folder)}


UTF8 = (series, text, pairs, objects, sentences, captions, notes, ink, vowels, archive, table, phones)
PACKED = (series, text, pairs, objects)
COMPRESSED = (features, rolls, flac)
FILES = (series, text, pairs, objects, sentences, captions, features, rolls, notes, vowels, archive)

Maker = Callable[[Path], Made]


def complaint(task: dict[str, Any]) -> str:
    """What a person is told who trains on it."""
    with pytest.raises(UserError) as caught:
        TaskSpec(**task).build().sample(np.random.default_rng(0), 2)
    told = str(caught.value)
    assert "\n" not in told and len(told) < 400
    return told


@pytest.mark.parametrize("make", (*UTF8, *COMPRESSED), ids=lambda make: make.__name__)
def test_whole_files_are_read(tmp_path: Path, make: Maker) -> None:
    """So that the tests below fail for the damage, and for nothing else."""
    assert TaskSpec(**make(tmp_path)[1]).build().sample(np.random.default_rng(0), 2).size == 2


@pytest.mark.parametrize("make", UTF8, ids=lambda make: make.__name__)
def test_what_is_not_utf_8_is_named_with_its_line(tmp_path: Path, make: Maker) -> None:
    path, task = make(tmp_path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + b"\xe4" + data[middle:])
    line = data[:middle].count(b"\n") + 1
    told = complaint(task)
    assert f"{path}, line {line}: " in told
    assert "is not UTF-8 (byte 0xe4 at " in told or "not well-formed" in told


@pytest.mark.parametrize("make", PACKED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("damage", ["truncated", "altered", "not packed"])
def test_a_damaged_gzip_archive_is_named(tmp_path: Path, make: Maker, damage: str) -> None:
    path, task = make(tmp_path)
    whole = gzip.compress(path.read_bytes())
    middle = len(whole) // 2
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(
        {
            "truncated": whole[:middle],
            "altered": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 8]) + whole[middle + 8 :],
            "not packed": b"nothing",
        }[damage]
    )
    told = complaint({name: value.replace(str(path), str(packed)) for name, value in task.items()})
    assert f"{packed}: the archive is truncated or damaged after line " in told or f"{packed}, line " in told


@pytest.mark.parametrize("make", COMPRESSED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("damage", ["truncated", "altered", "empty"])
def test_a_damaged_binary_file_is_named(tmp_path: Path, make: Maker, damage: str) -> None:
    path, task = make(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "truncated": whole[: middle + middle // 2],
            "altered": whole[:middle]
            + bytes(byte ^ 0xFF for byte in whole[middle : middle + 60])
            + whole[middle + 60 :],
            "empty": b"",
        }[damage]
    )
    assert str(path) in complaint(task)


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("instead", ["nothing", "folder"])
def test_a_missing_file_is_named(tmp_path: Path, make: Maker, instead: str) -> None:
    path, task = make(tmp_path)
    path.unlink()
    if instead == "folder":
        path.mkdir()
    assert f"{clipped(path)}: " in complaint(task)


@pytest.mark.parametrize("make", [series, table], ids=lambda make: make.__name__)
def test_what_csv_cannot_hold_is_named_with_its_line(tmp_path: Path, make: Maker) -> None:
    path, task = make(tmp_path)
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first, f'"{"x" * 200_000}",1', *others]))
    assert f"{path}, line 2: is no CSV (field larger than field limit (131072))" in complaint(task)
