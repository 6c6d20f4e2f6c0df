"""Arrow files of tables that take long to draw: written whole, with a checksum, and checked when read."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa

from longlag.log import log


def kept(path: Path, draw: Callable[[], datasets.Dataset]) -> datasets.Dataset:
    """The table in a file; where it is not there, or damaged, it is drawn and written first.

    The checksum lies beside it (``NAME.arrow.sha256``) and is written last. Processes that draw the same table at once
    write the same bytes.
    """
    digest = path.with_name(f"{path.name}.sha256")
    if digest.exists():
        try:
            return _read(path, digest)
        except (OSError, ValueError) as error:
            log.warning("%s is drawn again: %s", path, error, exc_info=True)
    table = draw()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.data.schema) as stream:
            stream.write_table(table.data.table)
        data = sink.getvalue().to_pybytes()
        _replace(path, data)
        _replace(digest, hashlib.sha256(data).hexdigest().encode())
    except OSError as error:
        log.warning("%s cannot be kept, and will be drawn again: %s", path, error, exc_info=True)
    return table


def _read(path: Path, digest: Path) -> datasets.Dataset:
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest.read_text(encoding="ascii").strip():
        raise ValueError("its checksum differs")
    return datasets.Dataset.from_file(str(path))


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees a part of it."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
