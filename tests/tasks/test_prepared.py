"""Data that take long to prepare: prepared once, read from the cache, and prepared again where the file is damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longlag import caches
from longlag.cli import file_checks
from longlag.cli.finding import Finding
from longlag.task import DataError
from longlag_tasks import _prepared
from longlag_tasks._prepared import lists, prepared
from tests.damage import DAMAGES, damage

COLUMNS = {"name": "string", "frames": "[float32]", "begins": "[float64]", "phonemes": "[string]"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGLAG_CACHE", str(tmp_path))


def rows() -> Iterator[dict[str, Any]]:
    for n in range(_prepared.ROWS + 3):
        frames = np.arange(n, n + 2 * (n % 3), dtype=np.float32)
        yield {"name": f"größe {n}", "frames": frames, "begins": [n / 3], "phonemes": ["a", "b"][: n % 3]}


def content(table: Any) -> list[Any]:
    values, starts = lists(table, "frames")
    assert values.dtype == np.float32
    return [values.tolist(), starts.tolist(), list(table["name"]), list(table["begins"]), list(table["phonemes"])]


def expected() -> list[Any]:
    made = list(rows())
    starts = np.cumsum([0, *(len(row["frames"]) for row in made)])
    values = np.concatenate([row["frames"] for row in made])
    return [values.tolist(), starts.tolist(), *([row[name] for row in made] for name in ("name", "begins", "phonemes"))]


@pytest.mark.fault
@pytest.mark.parametrize("name", [*DAMAGES, "halved floats"])
def test_a_damaged_file_is_prepared_again_with_one_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[int] = []

    def counted() -> Iterator[dict[str, Any]]:
        times.append(1)
        return rows()

    assert content(prepared("it-1", COLUMNS, counted)) == expected()
    assert content(prepared("it-1", COLUMNS, counted)) == expected() and len(times) == 1
    path = tmp_path / "it-1.arrow"
    if name == "halved floats":
        whole, some = path.read_bytes(), np.arange(101, 105, dtype=np.float32)
        place = whole.index(some.tobytes())
        path.unlink()
        path.write_bytes(whole[:place] + (some / 2).tobytes() + whole[place + 16 :])
    else:
        damage(path, name)
    assert content(prepared("it-1", COLUMNS, counted)) == expected() and len(times) == 2
    assert caplog.messages == [f"{path} is prepared again: its checksum differs"]
    assert content(prepared("it-1", COLUMNS, counted)) == expected() and len(times) == 2
    assert "LONGLAG_BOMB" not in os.environ


def test_what_is_wrong_with_the_data_is_said_as_it_is_and_nothing_is_kept(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield next(rows())
        raise DataError("file 2: is shorter than a frame")

    with pytest.raises(DataError, match="file 2: is shorter than a frame"):
        prepared("it-1", COLUMNS, broken)
    assert not list(tmp_path.iterdir())


def test_of_many_that_need_it_one_prepares() -> None:
    """Threads here, processes elsewhere: the lock is the same for both."""
    times: list[int] = []

    def counted() -> Iterator[dict[str, Any]]:
        times.append(1)
        return rows()

    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: prepared("it-1", COLUMNS, counted), range(4)))
    assert len(times) == 1 and all(content(table) == expected() for table in tables)


def test_a_folder_in_the_temporary_one_that_others_may_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.delenv("LONGLAG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr(caches, "gettempdir", lambda: str(tmp_path))
    folder = caches.cache_folder()
    assert folder == tmp_path / f"longlag-{os.getuid()}" and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(OSError, match="set LONGLAG_CACHE"):
        caches.cache_folder()


@pytest.mark.fault
def test_the_doctor_names_what_is_damaged(tmp_path: Path) -> None:
    for name in ("it-1", "it-2"):
        prepared(name, COLUMNS, rows)
    read = Finding(what="prepared data", state="ok", about=f"{tmp_path}: 2 files were read")
    assert list(file_checks.prepared(repair=False)) == [read]
    path = tmp_path / "it-1.arrow"
    damage(path, "cut off")
    about = f"{path}: its checksum differs; it is prepared again when a run needs it"
    wrong = Finding(what="prepared data", state="wrong", about=about)
    assert list(file_checks.prepared(repair=False)) == [wrong, read]
    assert [each.state for each in file_checks.prepared(repair=True)] == ["repaired", "ok"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["it-2.arrow", "it-2.arrow.sha256"]
