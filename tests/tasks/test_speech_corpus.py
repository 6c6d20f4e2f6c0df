"""Corpora on disk: TIMIT's folders, transcripts, splits by speaker, and what is said of bad data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Task
from longlag_tasks._corpus import FOLD, divided, timit
from tests.tasks import corpora


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path / "prepared"))


def corpus(path: Path, **options: object) -> Task:
    return TaskSpec(name="speech-corpus", path=str(path), **options).build()


def test_sixty_one_phones_are_thirty_nine_classes() -> None:
    assert len(set(FOLD) - {"sil"}) == 61
    assert len(set(FOLD.values())) == 39


def test_timit_labels_stand_where_the_files_say(tmp_path: Path) -> None:
    task = corpus(corpora.timit(tmp_path / "it"))
    batch = task.split("test", np.random.default_rng(0), 100)
    assert batch.size == 4
    assert set(task.names) == {"·", "sh", "iy", "hh", "ae", "d", "ah"}  # hv is hh, ax-h ah; closures and q are silent
    for b, length in enumerate(batch.lengths):
        each = length // len(corpora.PHONES)  # all phones last equally long
        rows = batch.targets[:length, b].reshape(len(corpora.PHONES), each)
        assert (rows == rows[:, :1]).all()
        assert rows[0, 0] == rows[-1, 0] == 0
    sequence = corpus(tmp_path / "it", labels="sequence").split("test", np.random.default_rng(0), 100)
    assert sequence.target_lengths.tolist() == [6] * 4
    assert set(corpus(tmp_path / "it", fold=False).names) > {"hv", "dcl", "ax-h"}


def test_speakers_are_held_out_whole(tmp_path: Path) -> None:
    recordings = list(timit(corpora.timit(tmp_path / "it", speakers=10), fold=True))
    splits = divided(recordings, 0.3)
    groups = {name: {r.group for r, s in zip(recordings, splits, strict=True) if s == name} for name in set(splits)}
    assert {len(groups["training"]), len(groups["validation"])} == {7, 3}
    assert all(group.startswith("TEST") for group in groups["test"])
    assert not groups["training"] & groups["validation"]


def test_transcripts_are_spelled_and_held_out(tmp_path: Path) -> None:
    task = corpus(corpora.transcripts(tmp_path / "it"), layout="transcripts")
    assert set(task.names[1:]) == set("".join(corpora.TEXTS).replace(" ", "_"))
    test = task.split("test", np.random.default_rng(0), 100)
    validation = task.split("validation", np.random.default_rng(0), 100)
    assert (test.size, validation.size) == (2, 2)
    told = task.table(task.oracle(test), None, test)
    assert told["spoken"] == told["recognised"]
    assert told["spoken"][0].replace(" ", "").replace("_", " ") in corpora.TEXTS
    seen = {batch.inputs[:n, b].tobytes() for batch in (test, validation) for b, n in enumerate(batch.lengths)}
    training = task.sample(np.random.default_rng(0), 500)
    drawn = {training.inputs[:n, b].tobytes() for b, n in enumerate(training.lengths)}
    assert len(drawn) == 20 and not drawn & seen


@pytest.mark.parametrize("kind", ["jsonl", "txt"])
def test_other_ways_to_give_transcripts(tmp_path: Path, kind: str) -> None:
    folder = corpora.transcripts(tmp_path / "it")
    rows = (folder / "metadata.csv").read_text().splitlines()[1:]
    (folder / "metadata.csv").unlink()
    for row in rows:
        name, text = row.split(",")
        if kind == "txt":
            (folder / name).with_suffix(".txt").write_text(text.upper())
        else:
            with (folder / "metadata.jsonl").open("a") as file:
                file.write(f'{{"file_name": "{name}", "transcription": "{text}", "split": "train"}}\n')
    task = corpus(folder, layout="transcripts")
    assert set(task.names[1:]) == set("".join(corpora.TEXTS).replace(" ", "_"))


def spoil_phone(place: Path, line: int, text: str) -> None:
    lines = place.with_suffix(".PHN").read_text().splitlines()
    lines[line - 1] = text
    place.with_suffix(".PHN").write_text("\n".join(lines))


TIMIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:3000]), "SX0.WAV: is cut off: its header promises 17024 bytes"),
    "no audio": (lambda p: p.write_bytes(b"no sound at all"), "SX0.WAV: is no recording that libsndfile reads"),
    "labels missing": (lambda p: p.with_suffix(".PHN").unlink(), "SX0.WAV: has no labels SX0.PHN beside it"),
    "label outside": (lambda p: spoil_phone(p, 3, "1600 2400 zz"), "SX0.PHN, line 3: the phone 'zz' is none of"),
    "not three fields": (lambda p: spoil_phone(p, 2, "800 sh"), "SX0.PHN, line 2: should be 'first-sample last-"),
    "out of order": (lambda p: spoil_phone(p, 3, "10 2400 iy"), "SX0.PHN, line 3: begins before"),
    "not UTF-8": (lambda p: p.with_suffix(".PHN").write_bytes(b"0 800 h#\n800 900 \xff\n"), "line 2: is not UTF-8"),
    "empty labels": (lambda p: p.with_suffix(".PHN").write_text(""), "SX0.PHN: is empty"),
}


@pytest.mark.parametrize("case", TIMIT)
def test_a_damaged_timit_is_named_with_file_and_line(tmp_path: Path, case: str) -> None:
    spoil, sentence = TIMIT[case]
    spoil(corpora.timit(tmp_path / "it", speakers=3) / "TRAIN" / "DR1" / "FTR0" / "SX0.WAV")
    check(tmp_path / "it", sentence)


def rewrite(place: Path, samples: np.ndarray, rate: int = corpora.RATE) -> None:
    soundfile.write(place, samples, rate, subtype="FLOAT")


def table(place: Path, before: str, after: str) -> None:
    file = place.parent / "metadata.csv"
    file.write_text(file.read_text().replace(before, after, 1))


TRANSCRIPTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (lambda p: rewrite(p, np.r_[np.zeros(4), np.nan, np.zeros(9999)]), "01.wav: sample 5 of 10004 is nan"),
    "wrong rate": (lambda p: rewrite(p, np.zeros(9999), 8000), "01.wav: is recorded at 8000 Hz, not at 16000"),
    "stereo": (lambda p: rewrite(p, np.zeros((9999, 2))), "01.wav: has 2 channels, not one"),
    "no samples": (lambda p: rewrite(p, np.zeros(0)), "01.wav: holds no samples"),
    "too short": (lambda p: rewrite(p, np.zeros(320)), "01.wav: is too short for its 11 labels: 2 frames"),
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "01.wav: is cut off: its header promises"),
    "no such file": (lambda p: p.unlink(), "metadata.csv, line 3: there is no file"),
    "wrong column": (lambda p: table(p, "transcription", "text"), "metadata.csv, line 2: there is no 'transcription'"),
    "empty text": (lambda p: table(p, "a dark suit", " "), "metadata.csv, line 3: transcription is empty"),
    "label outside": (lambda p: table(p, "a dark suit", "a dark ßuit"), "line 3: the label 'ß' is not in"),
}


@pytest.mark.parametrize("case", TRANSCRIPTS)
def test_damaged_transcripts_are_named_with_file_and_line(tmp_path: Path, case: str) -> None:
    spoil, sentence = TRANSCRIPTS[case]
    spoil(corpora.transcripts(tmp_path / "it") / "01.wav")
    letters = {"characters": "abcdefghijklmnopqrstuvwxyz "} if case == "label outside" else {}
    check(tmp_path / "it", sentence, layout="transcripts", **letters)


def check(path: Path, sentence: str, **options: object) -> None:
    with pytest.raises(UserError) as caught:
        corpus(path, **options).sample(np.random.default_rng(0), 2)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


def test_it_says_what_to_give() -> None:
    with pytest.raises(UserError, match=r"which corpus\? .*task\.path=FOLDER"):
        TaskSpec(name="speech-corpus").build().sample(np.random.default_rng(0), 1)
    with pytest.raises(UserError, match="transcripts do not say when"):
        TaskSpec(name="speech-corpus", layout="transcripts", labels="frames")


def test_a_folder_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no recording below it"):
        corpus(tmp_path).sample(np.random.default_rng(0), 1)
    with pytest.raises(UserError, match="there is no such file or folder"):
        corpus(tmp_path / "gone").sample(np.random.default_rng(0), 1)


def test_a_changed_corpus_is_not_the_same_run(tmp_path: Path) -> None:
    path = corpora.transcripts(tmp_path / "it")
    before = TaskSpec(name="speech-corpus", path=str(path), layout="transcripts")
    rewrite(path / "00.wav", np.zeros(9999))
    after = TaskSpec(name="speech-corpus", path=str(path), layout="transcripts")
    assert before.options["sha256"] != after.options["sha256"]
    with pytest.raises(UserError, match="has changed"):
        before.build().sample(np.random.default_rng(0), 1)
