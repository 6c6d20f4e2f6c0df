"""Chorales: the grammar's harmony, rolls from files, and what can be wrong with them."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Task
from longlag_tasks import _rolls
from longlag_tasks._harmony import RANGES, SCALES, composed
from longlag_tasks._rolls import SPLITS, packed, parsed, read_rolls
from tests.damage import DAMAGES, damage


def chorales(**options: object) -> Task:
    return TaskSpec(name="chorales", **options).build()


def notes(step: Array) -> list[int]:
    """MIDI numbers that sound."""
    return (np.flatnonzero(step) + 21).tolist()


@pytest.fixture(scope="module")
def music() -> tuple[Array, ...]:
    return composed(60, 7)


def test_chorales_are_in_four_voices_and_one_key(music: tuple[Array, ...]) -> None:
    low, high = min(RANGES["bass"]), max(RANGES["soprano"])
    for roll in music:
        sounding = np.flatnonzero(roll.any(0)) + 21
        assert sounding.min() >= low and sounding.max() <= high
        assert set(roll.sum(1)) <= {2, 3, 4}  # voices may meet on one key
        classes = set(sounding % 12)
        assert any(classes <= {(t + k) % 12 for k in scale} for t in range(12) for scale in SCALES.values())


def test_phrases_end_on_held_chords_and_the_last_is_often_the_first_again(music: tuple[Array, ...]) -> None:
    for roll in music:
        phrases = roll.reshape(-1, 18, 88)
        assert 2 <= len(phrases) <= 5
        assert all((phrase[-4:] == phrase[-1]).all() for phrase in phrases)
        if len(phrases) > 2:
            assert np.array_equal(phrases[0], phrases[-1])


def test_full_cadences_go_home(music: tuple[Array, ...]) -> None:
    """The last chord is the tonic triad: root in the bass or its third, and the chord before is the dominant's."""
    for roll in music:
        last, before = ({key % 12 for key in notes(roll[step])} for step in (-1, -6))
        third = [
            t for t in last if {(t + k) % 12 for k in (0, 3, 7)} >= last or {(t + k) % 12 for k in (0, 4, 7)} >= last
        ]
        assert third
        assert any((t + 7) % 12 in before for t in third)


def test_the_same_music_everywhere_and_no_piece_twice() -> None:
    task = chorales(pieces=50)
    pieces = [task._corpus.pieces[name] for name in SPLITS]
    assert [len(part) for part in pieces] == [50, 200, 200]
    rolls = [part.pick(np.array([n]))[0].tobytes() for part in pieces for n in range(len(part))]
    assert len(set(rolls)) == 450
    assert notes(composed(2, 0)[0][0]) == [46, 53, 62, 70]
    assert not np.array_equal(composed(2, 0)[0], composed(2, 1)[0])


def test_targets_are_the_next_steps() -> None:
    batch = chorales(pieces=50).sample(np.random.default_rng(0), 30)
    for b, length in enumerate(batch.lengths):
        assert np.array_equal(batch.inputs[1:length, b], batch.targets[: length - 1, b])
        assert batch.targets[length - 1, b].any()
    assert len(batch.inputs) == batch.lengths.max()


def test_nats_are_summed_over_keys_and_accuracy_counts_no_silence() -> None:
    task = chorales(pieces=50)
    batch = task.sample(np.random.default_rng(0), 10)
    measured = task.measure(np.full(batch.targets.shape, 1e-9), batch)
    assert measured["bernoulli"] == pytest.approx(88 * np.log(2))
    exists = batch.exists()
    share = batch.targets[exists].mean()
    assert measured["frame_accuracy"] == pytest.approx(share)  # every key held likelier than not


def pieces(count: int, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [(rng.random((rng.integers(2, 9), 88)) < 0.05).astype(np.uint8) for _ in range(count)]


ROLLS = dict(zip(SPLITS, (pieces(5), pieces(2, 1), pieces(3, 2)), strict=True))


def write_mat(path: Path) -> None:
    def cells(rolls: list[Array]) -> Array:
        cell = np.empty((1, len(rolls)), object)
        for n, roll in enumerate(rolls):
            cell[0, n] = roll
        return cell

    savemat(path, {f"{split[:5]}data": cells(rolls) for split, rolls in ROLLS.items()})


def write_json(path: Path) -> None:
    data = {split[:5]: [[notes(step) or [-1] for step in roll] for roll in rolls] for split, rolls in ROLLS.items()}
    path.write_text(json.dumps(data))


WRITERS = {".mat": write_mat, ".npz": lambda path: path.write_bytes(packed(ROLLS)), ".json": write_json}


@pytest.mark.parametrize("kind", WRITERS)
def test_files_are_read_as_they_were_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"it{kind}"
    WRITERS[kind](path)
    found = read_rolls(path)
    for split in SPLITS:
        assert len(found[split]) == len(ROLLS[split])
        assert all(np.array_equal(a, b) for a, b in zip(found[split], ROLLS[split], strict=True))
    task = chorales(path=str(path))
    assert task.split("test", np.random.default_rng(0), 100).size == 3
    later = np.concatenate([roll[1:] for roll in ROLLS["training"]]).mean(0)
    p = later[(later > 0) & (later < 1)]
    assert task.baseline().value == pytest.approx(-np.sum(p * np.log(p) + (1 - p) * np.log(1 - p)))


def npz(path: Path, **arrays: Array) -> None:
    np.savez(path, **arrays)


GOOD = {"train_0": np.eye(88)[:5], "valid_0": np.eye(88)[:5], "test_0": np.eye(88)[:5]}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"train_0": np.zeros((5, 87))}, r"train_0: is no roll of two or more steps and 88 keys, but \(5, 87\)"),
        ({"train_0": np.zeros((1, 88))}, r"but \(1, 88\)"),
        ({"train_0": np.eye(88)[:5] * 0.5}, "train_0, step 1, key 1: is 0.5, neither 0 nor 1"),
        ({"train_0": np.where(np.arange(440).reshape(5, 88) == 90, np.nan, 0)}, "step 2, key 3: is nan"),
        ({"train_0": np.array([[object()]])}, "is no archive of plain arrays"),
    ],
)
def test_bad_arrays_give_one_clear_sentence(tmp_path: Path, arrays: dict[str, Array], sentence: str) -> None:
    path = tmp_path / "it.npz"
    npz(path, **{**GOOD, **arrays})
    with pytest.raises(UserError, match=sentence) as caught:
        chorales(path=str(path)).baseline()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("it.pickle", b"", "pickled rolls are not read"),
        ("it.mat", b"nonsense", "is no Matlab file, or a damaged one"),
        ("it.npz", b"nonsense", "is no archive of plain arrays"),
        ("it.json", b"[1, 2", "line 1: is not JSON"),
        ("it.json", b"[]", "holds no object with train, valid and test"),
        ("it.json", b'{"train": [[[60], [61]]], "test": [[[60], [61]]]}', "no pieces for the validation split"),
        ("it.json", b'{"train": [[[60], [200]]]}', "train 1, step 2: 200 is no key of the piano, 21 to 108"),
        ("it.json", b'{"train": [[[60], ["C"]]]}', "train 1, step 2: 'C' is no MIDI number"),
        ("it.json", b'{"train": [[[60]]]}', "train 1: is no list of two or more steps"),
        ("it.json", b'{"train": 5}', "train: is no list of pieces"),
    ],
)
def test_bad_files_give_one_clear_sentence(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        chorales(path=str(path)).baseline()


def test_a_truncated_archive_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for kind in (".mat", ".npz"):
        path = tmp_path / f"it{kind}"
        WRITERS[kind](path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(UserError, match="damaged"):
            chorales(path=str(path)).baseline()
    with pytest.raises(UserError, match="there is no such file"):
        chorales(path=str(tmp_path / "none.mat"))
    with pytest.raises(UserError, match="leave them out beside a path"):
        chorales(path="music21", pieces=10)


def note(offset: float, length: float, *keys: int) -> SimpleNamespace:
    return SimpleNamespace(offset=offset, quarterLength=length, pitches=[SimpleNamespace(midi=key) for key in keys])


def score(*sounds: SimpleNamespace) -> SimpleNamespace:
    last = max(sound.offset + sound.quarterLength for sound in sounds)
    return SimpleNamespace(highestTime=last, flatten=lambda: SimpleNamespace(notes=sounds))


def test_scores_become_eighth_notes() -> None:
    roll = parsed(score(note(0, 1, 60, 64), note(1, 0.5, 62), note(1.5, 0.25, 65), note(1.75, 0.25, 67)))
    assert [notes(step) for step in roll] == [[60, 64], [60, 64], [62], [65]]  # 67 begins between two steps


@pytest.mark.fault
def test_music21_is_parsed_once_and_again_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a stand-in for the package: ten scores, each of its own notes."""
    parsings: list[int] = []

    def iterator() -> list[SimpleNamespace]:
        parsings.append(1)
        return [score(note(0, 1, 40 + n), note(1, 1, 41 + n)) for n in range(10)]

    spec = ModuleSpec("music21", None)
    stub = SimpleNamespace(
        __version__="0", __spec__=spec, corpus=SimpleNamespace(chorales=SimpleNamespace(Iterator=iterator))
    )
    monkeypatch.setitem(sys.modules, "music21", stub)
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path / "longlag"))
    first, again = _rolls.from_music21(), _rolls.from_music21()
    assert len(parsings) == 1
    assert [len(first[split]) for split in SPLITS] == [6, 2, 2]

    def same() -> bool:
        return all(np.array_equal(a, b) for s in SPLITS for a, b in zip(first[s], again[s], strict=True))

    assert same()
    (path,) = (tmp_path / "longlag").glob("*.npz")
    for count, name in enumerate(DAMAGES, start=2):
        damage(path, name)
        again = _rolls.from_music21()
        assert same() and len(parsings) == count
        assert caplog.messages[count - 2 :] == [f"{path} is made again, which takes minutes: its checksum differs"]


def test_music21_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(UserError, match=r"pip install 'longlag\[music\]'"):
        chorales(path="music21").baseline()
