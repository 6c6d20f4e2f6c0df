"""Piano rolls from files that hold no code: Matlab's ``.mat``, numpy's ``.npz``, JSON; and from music21's corpus."""

from __future__ import annotations

import io
import json
import logging
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from longlag.task import Array, Damaged, DataError, cache_folder, quoted, read_with_checksum, write_with_checksum
from longlag_tasks._harmony import LOWEST
from longlag_tasks._packages import MUSIC21
from longlag_tasks._textfiles import whole

log = logging.getLogger("longlag")

KEYS = 88
SPLITS = ("training", "validation", "test")
Rolls = dict[str, list[Array]]
"""Pieces of each split, uint8 ``[T, 88]``."""

STEPS_A_QUARTER = 2
"""music21: eighth notes."""

SHARE = 0.2
"""music21: of the chorales that is for validation, and as much for the test: about as in Boulanger-Lewandowski."""


def read_rolls(path: Path) -> Rolls:
    """The pieces of a file.

    ``.mat``: cell arrays ``traindata``, ``validdata``, ``testdata`` of rolls of 88 columns, 0 or 1.
    ``.npz``: arrays whose names begin with ``train``, ``valid`` and ``test``, a roll each, in the order of the names.
    ``.json``: an object with ``train``, ``valid`` and ``test``, each a list of pieces, each a list of steps, each a
    list of MIDI numbers (21 to 108; -1 and 0 stand for no note).

    Raises:
        DataError: for anything else, naming file, piece and step.
    """
    readers = {".mat": _mat, ".npz": _npz, ".json": _json}
    if path.suffix not in readers:
        raise DataError(f"{path}: ends in none of {', '.join(readers)} (pickled rolls are not read: they can run code)")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    pieces = readers[path.suffix](path)
    for split in SPLITS:
        if not pieces[split]:
            raise DataError(f"{path}: holds no pieces for the {split} split")
    return pieces


def _split_of(name: str) -> str | None:
    return next((split for split in SPLITS if name.startswith(split[:5])), None)


def _mat(path: Path) -> Rolls:
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except Exception as error:  # a damaged file raises nearly anything
        raise DataError(f"{path}: is no Matlab file, or a damaged one ({type(error).__name__}: {error})") from error
    pieces: Rolls = {split: [] for split in SPLITS}
    for name, value in content.items():
        split = _split_of(name)
        if split is not None:
            cells = value.ravel() if value.dtype == object else [value]
            pieces[split] = [checked(cell, f"{path}, {name} {n}") for n, cell in enumerate(cells, start=1)]
    return pieces


def _npz(path: Path) -> Rolls:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: is no archive of plain arrays, or a damaged one ({error})") from error
    return _unpacked(data, path)


def _unpacked(data: bytes, path: Path) -> Rolls:
    """The rolls of an ``.npz`` file's content."""
    pieces: Rolls = {split: [] for split in SPLITS}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as content:
            for name in sorted(content.files):
                split = _split_of(name)
                if split is not None:
                    pieces[split].append(checked(content[name], f"{path}, {name}"))
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is no archive of plain arrays, or a damaged one ({error})") from error
    return pieces


def checked(roll: Any, where: str) -> Array:
    """A piano roll, as it should be.

    Raises:
        DataError: where it is not.
    """
    if not isinstance(roll, np.ndarray) or roll.ndim != 2 or roll.shape[1] != KEYS or len(roll) < 2:
        shape = getattr(roll, "shape", type(roll).__name__)
        raise DataError(f"{where}: is no roll of two or more steps and {KEYS} keys, but {shape}")
    if roll.dtype.kind not in "biuf" or not np.isin(roll, (0, 1)).all():
        wrong = ~np.isin(roll, (0, 1))
        step, key = np.argwhere(wrong)[0] if wrong.any() else (0, 0)
        raise DataError(f"{where}, step {step + 1}, key {key + 1}: is {roll[step, key]}, neither 0 nor 1")
    return roll.astype(np.uint8)


def _json(path: Path) -> Rolls:
    try:
        content = json.loads(whole(str(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: is not JSON ({error.msg})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no object with train, valid and test")
    pieces: Rolls = {split: [] for split in SPLITS}
    for name, value in content.items():
        split = _split_of(name)
        if split is not None:
            if not isinstance(value, list):
                raise DataError(f"{path}, {name}: is no list of pieces")
            pieces[split] = [_roll(steps, f"{path}, {name} {n}") for n, steps in enumerate(value, start=1)]
    return pieces


def _roll(steps: Any, where: str) -> Array:
    """The roll of lists of MIDI numbers."""
    if not isinstance(steps, list) or len(steps) < 2:
        raise DataError(f"{where}: is no list of two or more steps")
    roll = np.zeros((len(steps), KEYS), np.uint8)
    for n, keys in enumerate(steps):
        for key in keys if isinstance(keys, list) else [keys]:
            if isinstance(key, bool) or not isinstance(key, int | float) or key != key:
                raise DataError(f"{where}, step {n + 1}: {quoted(key)} is no MIDI number")
            if key in (-1, 0):
                continue
            if key != int(key) or not LOWEST <= key < LOWEST + KEYS:
                raise DataError(f"{where}, step {n + 1}: {key} is no key of the piano, {LOWEST} to {LOWEST + KEYS - 1}")
            roll[n, int(key) - LOWEST] = 1
    return roll


def from_music21() -> Rolls:
    """Bach's chorales as music21 has them, eighth notes, split at random (the same split everywhere).

    Parsing takes minutes; the rolls are kept in the user's cache folder.
    """
    music21 = MUSIC21.load()
    path = cache_folder() / f"chorales-music21-{music21.__version__}-{STEPS_A_QUARTER}.npz"
    try:
        return _unpacked(read_with_checksum(path), path)
    except FileNotFoundError:
        pass  # they are parsed for the first time, or were not written to their end
    except (OSError, Damaged) as error:
        log.warning("%s is made again, which takes minutes: %s", path, error, exc_info=True)
    pieces = [parsed(score) for score in music21.corpus.chorales.Iterator()]
    order, held = np.random.RandomState(0).permutation(len(pieces)), round(SHARE * len(pieces))
    rows = {"training": order[2 * held :], "validation": order[:held], "test": order[held : 2 * held]}
    rolls: Rolls = {split: [pieces[n] for n in rows[split]] for split in SPLITS}
    try:
        write_with_checksum(path, packed(rolls))
    except OSError as error:
        log.warning("%s cannot be kept, and will be made again: %s", path, error, exc_info=True)
    return rolls


def packed(rolls: Mapping[str, Iterable[Array]]) -> bytes:
    """Rolls as the content of an ``.npz`` file."""
    arrays = {f"{split}_{n:04}": roll for split in SPLITS for n, roll in enumerate(rolls[split])}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def parsed(score: Any) -> Array:
    """A score of music21 as a roll: the keys that sound at every eighth note."""
    length = max(2, int(np.ceil(float(score.highestTime) * STEPS_A_QUARTER)))
    roll = np.zeros((length, KEYS), np.uint8)
    for note in score.flatten().notes:
        start, stop = (float(time) * STEPS_A_QUARTER for time in (note.offset, note.offset + note.quarterLength))
        for pitch in note.pitches:
            # sounds at a step where it does at its beginning
            roll[int(np.ceil(start)) : int(np.ceil(stop)), pitch.midi - LOWEST] = 1
    return roll
