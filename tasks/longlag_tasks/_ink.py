"""Recorded handwriting: the XML of the IAM on-line database, strokes of points."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from longlag.task import Array, DataError, quoted


def read_ink(path: Path) -> Array:
    """Pen offsets of a file, float64 ``[N - 1, 3]``: x, y (upward), and 1 at the last point of a stroke.

    Read are the elements ``Stroke`` of a ``StrokeSet`` and, in each, ``Point`` with its ``x`` and ``y`` (downward, as
    in the IAM on-line database).

    Raises:
        DataError: for anything else, naming file, stroke and point.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"{path}, line {error.position[0]}: is no XML, or a damaged one ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, ValueError, LookupError) as error:
        raise DataError(f"{path}: is not in the encoding that it claims ({error})") from None
    strokes = root.findall(".//StrokeSet/Stroke")
    points = []
    for s, stroke in enumerate(strokes, start=1):
        found = stroke.findall("Point")
        for p, point in enumerate(found, start=1):
            where = f"{path}, stroke {s}, point {p}"
            points.append([_number(point, "x", where), -_number(point, "y", where), float(p == len(found))])
    if len(points) < 3:
        raise DataError(f"{path}: holds {len(points)} points in {len(strokes)} strokes; it takes at least 3")
    drawn = np.array(points)
    return np.column_stack([np.diff(drawn[:, :2], axis=0), drawn[1:, 2]])


def _number(point: ElementTree.Element, axis: str, where: str) -> float:
    text = point.get(axis)
    try:
        value = float(text) if text is not None else None
    except ValueError:
        value = None
    if value is None or not isfinite(value):
        raise DataError(f"{where}: {axis} is {quoted(text)}, not a number")
    return value


def cut(lines: Sequence[Array], steps: int) -> list[Array]:
    """Every line in pieces of at most so many points, as equal as can be; those of fewer than two are dropped."""
    pieces = [piece for line in lines for piece in np.array_split(line, max(1, -(-len(line) // steps)))]
    return [piece for piece in pieces if len(piece) > 1]
