"""The ``.ts`` files of the time-series archive: dimensions, sequences of several lengths, a class at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longlag.task import Array, DataError, quoted
from longlag_tasks._textfiles import lines


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


def read(path: Path, dimensions: int | None = None) -> Series:
    """Read a file: lines ``v,v,...:v,v,...: ... :class`` behind ``@data``, one a sequence.

    Args:
        path: the file.
        dimensions: of every sequence; None: those of the first.

    Raises:
        DataError: for anything else, naming file and line.
    """
    names: tuple[str, ...] = ()
    values: list[Array] = []
    classes: list[int] = []
    started = False
    for number, line in lines(str(path)):
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
            raise DataError(f"{where}: the label {quoted(name[:40])} is not one of {', '.join(names) or '@classLabel'}")
        dimensions = dimensions or len(columns)
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
