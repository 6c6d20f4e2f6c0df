"""Files that numbers depend on: written whole and flushed to the disk, and verified when read.

JSON and safetensors hold their checksum themselves, so that such a file can be passed on alone. The checksum of any
other file is beside it, in ``NAME.sha256``, as ``sha256sum --check`` reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from longlag import reading
from longlag.errors import UserError, clipped
from longlag.log import log

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
    with _draft(path) as draft:
        draft.write_bytes(data)
        if mode is not None:
            draft.chmod(mode)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A file that is flushed and gets its name when it is complete."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield draft
        _flush(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _flush(path.parent)


def drafts(folder: Path, seconds: float) -> list[Path]:
    """Files that `write` began in a folder at least so many seconds ago and did not finish: it was killed."""
    found = []
    for path in sorted(folder.glob(f".*.{'[0-9a-f]' * 32}")):
        with suppress(FileNotFoundError):  # it was finished meanwhile
            if time.time() - path.stat().st_mtime >= seconds:
                found.append(path)
    return found


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


# -- a checksum beside the file ----------------------------------------------------------------------------------------


def beside(path: Path) -> Path:
    """The file that holds the checksum of another one."""
    return path.with_name(f"{path.name}.{CHECKSUM}")


def write_with_checksum(path: Path, data: bytes, mode: int | None = None) -> None:
    """As `write`, and its checksum beside it; that one comes last, so that a file without it is not complete."""
    write(path, data, mode)
    write(beside(path), _line(path, data))


@contextmanager
def writing_with_checksum(path: Path) -> Iterator[Path]:
    """As `write_with_checksum`, for content that is too large for memory: the file to write, which is then renamed."""
    with _draft(path) as draft:
        yield draft
        line = _line(path, draft)
    write(beside(path), line)


def read_with_checksum(path: Path) -> bytes:
    """The content of a file that `write_with_checksum` wrote.

    Raises:
        FileNotFoundError: when there is no checksum: it was not written, or not to its end.
        Damaged: when it is not what was written.
    """
    expected, data = _pair(path, path.read_bytes)
    if expected != _line(path, data):
        raise Damaged("its checksum differs")
    return data


def verify(path: Path) -> None:
    """As `read_with_checksum`, for a file that is too large for memory."""
    expected, found = _pair(path, lambda: _line(path, path))
    if expected != found:
        raise Damaged("its checksum differs")


def _pair(path: Path, read: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """The checksum of a file, and what is read of it."""
    expected = beside(path).read_bytes()
    try:
        return expected, read()
    except FileNotFoundError as error:
        raise Damaged("it is gone, and its checksum is there") from error


def _line(path: Path, content: bytes | Path) -> bytes:
    """What is beside a file."""
    if isinstance(content, bytes):
        return f"{digest(content)}  {path.name}\n".encode()
    with content.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode()


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
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is cut off, or not JSON ({error})" if data else "it is empty") from error
    if not isinstance(fields, dict):
        raise Damaged("it holds no JSON object")
    if CHECKSUM not in fields:
        return fields, False
    if fields.pop(CHECKSUM) != digest(_canonical(fields)):
        raise Damaged("its checksum differs")
    return fields, True


def read_measurements(path: Path, what: str) -> dict[str, Any]:
    """The fields of a JSON file of measurements, as people pass them on. One without a checksum is read with a warning.

    Args:
        path: the file.
        what: to say of it where it is damaged, as ``holds no measurements``.

    Raises:
        UserError: when it cannot be read, or is not as it was written.
    """
    try:
        fields, verified = unsealed(reading.read(path, reading.DOCUMENT))
    except OSError as error:
        raise UserError(f"cannot read {clipped(path)}: {error.strerror}") from error
    except Damaged as error:
        raise UserError(f"{clipped(path)} {what} as longlag wrote them: {error}") from error
    if not verified:
        log.warning("%s has no checksum: it may have been changed since it was written", path)
    return fields


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()


# -- safetensors ------------------------------------------------------------------------------------------------------

METADATA = "__metadata__"


def sealed_tensors(data: bytes) -> bytes:
    """The content of a safetensors file with its checksum among the metadata."""
    header, body = _parts(data)
    header.setdefault(METADATA, {})[CHECKSUM] = digest(_canonical(header) + body)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers stay aligned
    return len(text).to_bytes(8, "little") + text + body


def metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, whose checksum is verified; a file of an older longlag has none.

    Raises:
        Damaged: when it is no safetensors file, or its checksum differs.
    """
    header, body = _parts(data)
    about = header.get(METADATA, {})
    expected = about.pop(CHECKSUM, None)
    if expected is not None and expected != digest(_canonical(header) + body):
        raise Damaged("its checksum differs")
    return {**about, **({} if expected is None else {CHECKSUM: expected})}


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers."""
    end = 8 + int.from_bytes(data[:8], "little")
    if end > len(data):
        raise Damaged("it is cut off, or not safetensors" if data else "it is empty")
    try:
        header = json.loads(data[8:end])
        dict(header.get(METADATA, {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"it is not safetensors ({error})") from error
    return header, data[end:]
