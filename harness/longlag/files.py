"""Files that numbers depend on: written whole and flushed to the disk, and verified when read.

JSON and safetensors hold their checksum themselves, so that such a file can be passed on alone. The checksum of any
other file is beside it, in ``NAME.sha256``, as ``sha256sum --check`` reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKSUM = "sha256"
"""The field of a JSON file, the entry of safetensors' metadata, and the suffix of a checksum beside a file."""


class Damaged(ValueError):
    """A file does not hold what was written; the message says why, as ``it is cut off``, and names no file."""


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file so that no reader sees a part of it, and a power cut leaves the old one or the new one.

    Args:
        path: in a folder that exists.
        data: its content.
        mode: its permissions; those of any new file when not given.

    Raises:
        OSError: when it cannot be written; what was there before stays.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _flush(path.parent)


def flush(folder: Path) -> None:
    """Flush a folder and all files in it to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            _flush(Path(place, name))
        _flush(Path(place))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- JSON -------------------------------------------------------------------------------------------------------------


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a JSON file, led by their checksum; how they are laid out in the file is no part of it."""
    return {CHECKSUM: digest(_canonical(fields)), **fields}


def unsealed(data: bytes) -> tuple[dict[str, Any], bool]:
    """The fields of a JSON file, and whether it has a checksum: those that an older longlag wrote have none.

    Raises:
        Damaged: when it is no JSON object, or its checksum differs.
    """
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise Damaged(f"it is cut off, or not JSON ({error})" if data else "it is empty") from error
    if not isinstance(fields, dict):
        raise Damaged("it holds no JSON object")
    if CHECKSUM not in fields:
        return fields, False
    if fields.pop(CHECKSUM) != digest(_canonical(fields)):
        raise Damaged("its checksum differs")
    return fields, True


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()
