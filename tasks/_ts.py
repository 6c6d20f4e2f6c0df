"""The ``.ts`` files of the time-series archive: several dimensions, sequences of several lengths, a class at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.task import Array, DataError


@dataclass(frozen=True)
class Series:
    """A file's sequences.

    Args:
        values: one array ``[T, D]`` a sequence, float32.
        classes: int64 ``[N]``, indices of `names`.
        names: of the classes, in the header's order.
    """

    values: tuple[Array, ...]
    classes: Array
    names: tuple[str, ...]


def read_text(path: Path) -> list[str]:
    """The lines of a UTF-8 file.

    Raises:
        DataError: where there is none, or its bytes are no UTF-8, naming the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: is not UTF-8 (byte 0x{data[error.start]:02x})") from None


def read(path: Path, dimensions: int) -> Series:
    """Read a file: lines ``v,v,...:v,v,...: ... :class`` behind ``@data``, one a sequence.

    Raises:
        DataError: for anything else, naming file and line.
    """
    names: tuple[str, ...] = ()
    values: list[Array] = []
    classes: list[int] = []
    started = False
    for number, line in enumerate(read_text(path), start=1):
        where = f"{path}, line {number}"
        word, *rest = line.split() or [""]
        if word.startswith("#") or not word:
            continue
        if not started:
            started = word.lower() == "@data"
            if word.lower() == "@classlabel":
                names = tuple(rest[1:])
            continue
        *columns, name = line.strip().split(":")
        if name not in names:
            raise DataError(f"{where}: the label {name[:40]!r} is not one of {', '.join(names) or '@classLabel'}")
        if len(columns) != dimensions:
            raise DataError(f"{where}: has {len(columns)} dimensions, not {dimensions}")
        values.append(_numbers(columns, where))
        classes.append(names.index(name))
    if not values:
        raise DataError(f"{path}: holds no sequence behind @data")
    return Series(tuple(values), np.array(classes, dtype=np.int64), names)


def _numbers(columns: list[str], where: str) -> Array:
    """One sequence, ``[T, D]``."""
    try:
        parts = [np.array(column.split(","), dtype=np.float64) for column in columns]
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    lengths = {len(part) for part in parts}
    if len(lengths) > 1:
        raise DataError(f"{where}: its dimensions have several lengths: {', '.join(map(str, sorted(lengths)))}")
    values = np.stack(parts, 1)
    if not np.isfinite(values).all():
        step, dimension = np.argwhere(~np.isfinite(values))[0]
        raise DataError(f"{where}: dimension {dimension + 1} is {values[step, dimension]} at step {step + 1}")
    return values.astype(np.float32)
