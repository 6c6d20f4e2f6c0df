"""Text files line by line, checked: what is wrong with them is said in one sentence, with file and line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longlag.task import DataError, clipped, opened, quoted

LARGEST = 10_000_000_000
"""Bytes of a file that is read, at most."""
MANY = 1_000_000
"""Files below a folder, at most."""


def place(path: str) -> Path:
    """Where a path of the user is; ``~`` is the home folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib raises for a user that is not known)


def named(path: str) -> str:
    """The same in full, for a person to see."""
    return os.path.abspath(place(path))  # noqa: PTH100 (a link stays as the user named it)


def below(folder: str) -> list[Path]:
    """Every file below a folder, sorted.

    Raises:
        DataError: where there is no such folder, or one that is no data set by its size.
    """
    top, found = place(folder), list[Path]()
    if not top.is_dir():
        raise DataError(
            f"{clipped(folder)}: {'is a file, not a folder' if top.exists() else 'there is no such file or folder'}"
        )
    if top.resolve() == Path(top.resolve().anchor):
        raise DataError(f"{folder}: is the root of the file system; name the folder of the data")
    for parent, _, names in os.walk(top):
        found += (Path(parent, name) for name in names)
        if len(found) > MANY:
            raise DataError(f"{folder}: holds more than {MANY:,} files; name the folder of the data")
    return sorted(path for path in found if path.is_file())


def digest(paths: Sequence[str]) -> str:
    """SHA-256 over files, in order, in hexadecimal digits.

    Raises:
        DataError: for a file that cannot be read.
    """
    total = hashlib.sha256()
    for path in paths:
        try:
            with opened(place(path), LARGEST) as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{clipped(path)}: {reason(error)}") from error
    return total.hexdigest()


def reason(error: OSError) -> str:
    """Why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return str(error.strerror or error)


def lines(path: str) -> Iterator[tuple[int, str]]:
    """Every line with its number, from 1; a file that ends in ``.gz`` is unpacked.

    Raises:
        DataError: where the file cannot be read, is damaged or is not UTF-8.
    """
    number, packed = 0, place(path).suffix == ".gz"
    try:
        with opened(place(path), LARGEST) as file, gzip.open(file) if packed else file as text:
            for number, line in enumerate(text, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{path}, line {number}: is not UTF-8 (byte 0x{byte:02x} at {error.start})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the archive is truncated or damaged after line {number}") from error
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from error


def rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of every row of a CSV file with the number of the line that it ends in; empty lines are passed over.

    Raises:
        DataError: as `lines`, and where the file is no CSV.
    """
    reader = csv.reader(line for _, line in lines(path))
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: is no CSV ({error})") from error


def whole(path: str) -> str:
    """All text of a file."""
    return "\n".join(line for _, line in lines(path))


def records(path: str) -> Iterator[tuple[int, Any]]:
    """The JSON value of every line with the line's number."""
    for number, line in lines(path):
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: is not JSON ({error.msg} at column {error.colno})") from error


def field(record: Any, key: str, where: str) -> str:
    """The text under a key of a JSON object; ``a.b`` is b inside a.

    Raises:
        DataError: where there is none.
    """
    value = record
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            has = f"it has {', '.join(map(repr, value))}" if isinstance(value, dict) else "it is no object"
            raise DataError(f"{where}: there is no {quoted(key)}; {has}")
        value = value[part]
    if not isinstance(value, str):
        raise DataError(f"{where}: {quoted(key)} is {type(value).__name__}, not text")
    return text(value, key, where)


def text(value: str, name: str, where: str) -> str:
    """The text, when there is any."""
    if not value.strip():
        raise DataError(f"{where}: {name} is empty")
    return value.strip()
