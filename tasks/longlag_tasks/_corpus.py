"""Local corpora of speech: which recordings there are, what is said in them, which of them are held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longlag.task import DataError, quoted
from longlag_tasks._audio import SUFFIXES
from longlag_tasks._textfiles import below, field, lines, records, rows, whole

PARTS = {
    "train": "training",
    "training": "training",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Folders, or values of the column ``split``, that say which split a recording is in."""
TABLES = ("metadata.csv", "metadata.jsonl")
READ = SUFFIXES | {".phn", ".txt", ".csv", ".jsonl"}
"""Files of a corpus that are looked at."""
FILE, TEXT = "file_name", "transcription"

# Lee and Hon (1989): the phones of TIMIT that count as one class, the first naming it.
_FOLDED = (
    "aa ao", "ah ax ax-h", "er axr", "hh hv", "ih ix", "l el", "m em", "n en nx", "ng eng", "sh zh", "uw ux",
    "sil h# pau epi q pcl tcl kcl bcl dcl gcl",
)  # fmt: skip
_ALONE = "ae aw ay b ch d dh dx eh ey f g iy jh k ow oy p r s t th uh v w y z"
FOLD = {phone: group.split()[0] for group in (*_FOLDED, *_ALONE.split()) for phone in group.split()}
SILENT = ("sil", "h#", "pau", "epi", "q")


@dataclass(frozen=True)
class Recording:
    """One recording.

    Args:
        path: of the audio.
        words: the phones or characters, in order.
        begins: the sample where each begins; empty where that is not known.
        where: file (and line) that says so, for complaints.
        split: ``training``, ``validation``, ``test``, or empty where nothing says.
        group: what is held out as a whole: the speaker, or the recording itself.
    """

    path: Path
    words: tuple[str, ...]
    begins: tuple[int, ...]
    where: str
    split: str
    group: str


def files(folder: Path) -> list[Path]:
    """The recordings below a folder, sorted.

    Raises:
        DataError: where there is no such folder, or nothing in it.
    """
    found = [path for path in below(str(folder)) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"{folder}: has no recording below it ({', '.join(sorted(SUFFIXES))})")
    return found


def _part(name: str) -> str:
    return PARTS.get(name.lower(), "")


def timit(folder: Path, fold: bool) -> Iterator[Recording]:
    """Folders as TIMIT's: ``TRAIN/DR1/FCJF0/SA1.WAV`` and ``.PHN`` with lines ``first sample, last sample, phone``."""
    for path in files(folder):
        found = [path.with_suffix(suffix) for suffix in (".PHN", ".phn")]
        phones = next((each for each in found if each.is_file()), None)
        if phones is None:
            raise DataError(f"{path}: has no labels {found[0].name} beside it")
        names: list[str] = []
        begins: list[int] = []
        for number, line in lines(str(phones)):
            where, fields = f"{phones}, line {number}", line.split()
            if not fields:
                continue
            if len(fields) != 3 or not (fields[0].isdigit() and fields[1].isdigit()):
                raise DataError(f"{where}: should be 'first-sample last-sample phone', not {quoted(line[:60])}")
            if fold and fields[2] not in FOLD:
                raise DataError(
                    f"{where}: the phone {quoted(fields[2])} is none of TIMIT's 61 (task.fold=false takes any)"
                )
            if begins and int(fields[0]) < begins[-1]:
                raise DataError(f"{where}: begins before the phone above it")
            names.append(FOLD[fields[2]] if fold else fields[2])
            begins.append(int(fields[0]))
        if not names:
            raise DataError(f"{phones}: is empty")
        relative = path.relative_to(folder)
        split = next((_part(part) for part in relative.parts[:-1] if _part(part)), "")
        yield Recording(path, tuple(names), tuple(begins), str(phones), split, relative.parent.as_posix())


def transcribed(folder: Path, lower: bool) -> Iterator[Recording]:
    """Recordings with their text, by character: from ``metadata.csv`` or ``.jsonl``, or a ``.txt`` beside each."""
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    for where, name, text, split in _beside(folder) if table is None else _listed(table):
        path = folder / name
        if not path.is_file():
            raise DataError(f"{where}: there is no file {path}")
        text = " ".join((text.lower() if lower else text).split())
        if not text:
            raise DataError(f"{where}: the text is empty")
        relative = path.relative_to(folder)
        part = _part(split) or next((_part(part) for part in relative.parts[:-1] if _part(part)), "")
        yield Recording(path, tuple(text.replace(" ", "_")), (), where, part, relative.as_posix())


Listed = tuple[str, str, str, str]
"""Where it stands, name of the recording, text, split."""


def _beside(folder: Path) -> Iterator[Listed]:
    for path in files(folder):
        text = path.with_suffix(".txt")
        if not text.is_file():
            raise DataError(f"{path}: has no text {text.name} beside it, and the folder no {' or '.join(TABLES)}")
        yield str(text), path.relative_to(folder).as_posix(), whole(str(text)), ""


def _listed(table: Path) -> Iterator[Listed]:
    numbered = _table(table) if table.suffix == ".csv" else records(str(table))
    for number, row in numbered:
        where = f"{table}, line {number}"
        split = row.get("split") if isinstance(row, dict) else None
        yield where, field(row, FILE, where), field(row, TEXT, where), str(split or "")


def _table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file by column, with their lines."""
    table = rows(str(path))
    _, header = next(table, (0, []))
    for number, row in table:
        yield number, dict(zip(header, row, strict=False))


def divided(recordings: Sequence[Recording], fraction: float) -> list[str]:
    """The split of every recording. Where nothing says, groups drawn at random are held out, always the same ones.

    Raises:
        DataError: where a split would be empty.
    """
    splits = [recording.split or "training" for recording in recordings]
    for index, name in enumerate(("test", "validation")):
        if name in splits:
            continue
        left = sorted({r.group for r, split in zip(recordings, splits, strict=True) if split == "training"})
        count = max(round(fraction * len(left)), 1)
        chosen = {left[k] for k in np.random.default_rng(index).permutation(len(left))[:count]}
        splits = [name if r.group in chosen else split for r, split in zip(recordings, splits, strict=True)]
    if set(splits) != {"training", "validation", "test"}:
        raise DataError(f"{len(recordings)} recordings cannot be divided into training, validation and test")
    return splits
