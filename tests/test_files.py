"""Files that numbers depend on: written whole, flushed, and never read damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load, save

from longlag import files
from longlag.errors import UserError
from tests.damage import DAMAGES

FIELDS = {"score": 0.1, "runs": [{"seed": 1, "name": "größe"}], "none": None}
ARRAYS: dict[str, Any] = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1)}


def json_file(path: Path) -> Callable[[], object]:
    path.write_text(json.dumps(files.sealed(FIELDS), indent=1))

    def read() -> object:
        fields, _ = files.unsealed(path.read_bytes())
        return {name: fields[name] for name in FIELDS}

    return read


def tensors(path: Path) -> Callable[[], object]:
    path.write_bytes(files.sealed_tensors(save(ARRAYS, metadata={"of": "x"})))

    def read() -> object:
        files.metadata(path.read_bytes())
        try:
            return {name: array.tolist() for name, array in load(path.read_bytes()).items()}
        except SafetensorError as error:  # as their readers do
            raise files.Damaged(str(error)) from error

    return read


def any_file(path: Path) -> Callable[[], object]:
    files.write_with_checksum(path, bytes(range(100)))
    return lambda: files.read_with_checksum(path)


KINDS = [json_file, tensors, any_file]


@pytest.mark.fault
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_damage_goes_unnoticed(kind: Callable[[Path], Callable[[], object]], tmp_path: Path) -> None:
    path = tmp_path / "file"
    read = kind(path)
    whole, data = read(), path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(data))
        with pytest.raises(files.Damaged):
            read()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with suppress(files.Damaged):  # not raised for white space, or the name of the entry that holds the checksum
            assert read() == whole
    path.write_bytes(data)
    assert read() == whole


def test_the_layout_of_json_is_no_part_of_its_checksum() -> None:
    data = json.dumps(files.sealed(FIELDS), sort_keys=True, indent=7, ensure_ascii=False).encode()
    assert files.unsealed(data) == (FIELDS, True)
    assert files.unsealed(json.dumps(FIELDS).encode()) == (FIELDS, False), "an older longlag wrote it"


def test_sealed_tensors_are_read_by_anybody() -> None:
    data = files.sealed_tensors(save(ARRAYS))
    found = load(data)
    assert found.keys() == ARRAYS.keys() and all(np.array_equal(found[name], ARRAYS[name]) for name in ARRAYS)
    assert files.metadata(save(ARRAYS)) == {}, "an older longlag wrote it"
    assert files.sealed_tensors(save(ARRAYS)) == data


def test_a_checksum_beside_a_file_is_one_of_sha256sum(tmp_path: Path) -> None:
    files.write_with_checksum(tmp_path / "file", b"content")
    done = subprocess.run(["sha256sum", "--check", "file.sha256"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "file: OK\n", done.stderr
    (tmp_path / "other").write_bytes(b"content")
    (tmp_path / "other.sha256").write_bytes((tmp_path / "file.sha256").read_bytes())
    with pytest.raises(files.Damaged):  # a file that was copied over another one with its checksum
        files.read_with_checksum(tmp_path / "other")
    (tmp_path / "file.sha256").unlink()
    with pytest.raises(FileNotFoundError):
        files.read_with_checksum(tmp_path / "file")


def test_a_file_is_flushed_before_it_has_its_name_and_the_folder_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []
    path = tmp_path / "file"

    def fsync(handle: int, before: Callable[[int], None] = os.fsync) -> None:
        before(handle)
        flushed.append((Path(f"/proc/self/fd/{handle}").readlink().name, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    files.write(path, b"content", 0o600)
    (draft, named), last = flushed
    assert draft.startswith(".file.") and not named and last == (tmp_path.name, True)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.fault
def test_a_full_disk_leaves_the_file_before_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write(path, b"before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_draft_of_a_killed_process_is_found(tmp_path: Path) -> None:
    draft = tmp_path / f".file.{hashlib.md5(b'').hexdigest()}"
    draft.write_bytes(b"half")
    (tmp_path / ".gitignore").write_text("*")
    assert files.drafts(tmp_path, 0) == [draft] and files.drafts(tmp_path, 3600) == []


@pytest.mark.fault
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_one_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(DAMAGES[damage](json.dumps(files.sealed(FIELDS)).encode()))
    with pytest.raises(UserError, match=r"x\.json holds no measurements as longlag wrote them: it"):
        files.read_measurements(path, "holds no measurements")


def test_a_record_without_a_checksum_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.json").write_text(json.dumps(FIELDS))
    assert files.read_measurements(tmp_path / "x.json", "holds nothing") == FIELDS
    (line,) = caplog.messages
    assert line == f"{tmp_path / 'x.json'} has no checksum: it may have been changed since it was written"
