"""Recorded series of numbers: those of statsmodels, whose files are read, and any column of a CSV file."""

from __future__ import annotations

import hashlib
from functools import cache
from math import isfinite

import numpy as np

from longlag.task import Array, DataError, quoted
from longlag_tasks._packages import STATSMODELS
from longlag_tasks._textfiles import rows

PACKAGED = {
    "sunspots": ("SUNACTIVITY", "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b"),
    "co2": ("co2", "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f"),
}
"""Column and SHA-256 of the files that statsmodels 0.15.0 brings."""


@cache
def packaged(name: str) -> Array:
    """A series of statsmodels, float64. The package is looked for, not imported.

    ``sunspots``: yearly mean sunspot numbers, 1700 to 2008; ``co2``: parts per million above Mauna Loa, every week
    from March 1958 to December 2001; the 59 weeks without a value lie on a straight line between their neighbours.
    """
    column, digest = PACKAGED[name]
    path = STATSMODELS.folder() / "datasets" / name / f"{name}.csv"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise DataError(f"{path} is not the file that is known: its SHA-256 should be {digest}")
    return column_of(str(path), column, gaps=True)


def column_of(path: str, column: str | None = None, gaps: bool = False) -> Array:
    """A column of a CSV file with a header, float64.

    Args:
        path: the file.
        column: its name; none: the last one.
        gaps: whether empty fields between others are allowed, and filled in on a straight line.

    Raises:
        DataError: for anything that is no number, naming file and line.
    """
    table = rows(path)
    _, header = next(table, (0, None))
    if header is None:
        raise DataError(f"{path}: is empty")
    if column is not None and column not in header:
        raise DataError(
            f"{path}, line 1: there is no column {quoted(column)}; there are {', '.join(map(repr, header))}"
        )
    index = len(header) - 1 if column is None else header.index(column)
    values = []
    for number, row in table:
        where = f"{path}, line {number}"
        if len(row) <= index:
            raise DataError(f"{where}: has {len(row)} columns, not {len(header)}")
        if gaps and not row[index]:
            values.append(np.nan)
            continue
        try:
            values.append(float(row[index]))
        except ValueError:
            raise DataError(f"{where}: {quoted(header[index])} is {quoted(row[index][:40])}, not a number") from None
        if not isfinite(values[-1]):
            raise DataError(f"{where}: {quoted(header[index])} is {row[index]}")
    series, places = np.array(values, dtype=np.float64), np.arange(len(values))
    known = np.isfinite(series)
    if not known.any():
        raise DataError(f"{path}: holds no value below its header")
    return np.asarray(np.interp(places, places[known], series[known]))
