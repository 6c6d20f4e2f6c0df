"""Evaluation splits on the disk: drawn once, checked when read."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longlag import files
from longlag.spec import RunSpec, load_run
from longlag.training.data import Split, splits
from longlag_tasks.adding import Adding
from longlag_tasks.number_names import NumberNames
from tests.conftest import TINY
from tests.damage import DAMAGES, damage

SPECS: dict[str, dict[str, Any]] = {
    "reals": TINY,
    "symbols and lengths": {**TINY, "task": {"name": "number-names"}},
}


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> RunSpec:
    return load_run(SPECS[request.param])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the splits that were drawn."""
    names: list[str] = []
    for task in (Adding, NumberNames):
        before = task.split

        def split(self: Any, name: str, rng: Any, size: int, before: Any = before) -> Any:
            names.append(name)
            return before(self, name, rng, size)

        monkeypatch.setattr(task, "split", split)
    yield names


def same(one: dict[str, Split], other: dict[str, Split]) -> bool:
    fields = ("inputs", "targets", "lengths", "counted", "tokens", "context", "target_lengths")
    pairs = [(getattr(one[n].batch, f), getattr(other[n].batch, f)) for n in one for f in fields]
    assert one.keys() == other.keys() and all(one[n].table.features == other[n].table.features for n in one)
    assert all(one[n].table._fingerprint == other[n].table._fingerprint for n in one)
    return all((a is None) == (b is None) and (a is None or (a.dtype == b.dtype and np.array_equal(a, b)))
               for a, b in pairs)  # fmt: skip


def test_a_split_is_drawn_once_and_read_from_then_on(spec: RunSpec, drawn: list[str], tmp_path: Path) -> None:
    first = splits(spec, tmp_path)
    assert drawn == ["validation", "test"]
    again = splits(spec, tmp_path)
    assert drawn == ["validation", "test"], "the second time none is drawn"
    assert same(first, again) and same(first, splits(spec))


@pytest.mark.fault
@pytest.mark.parametrize("name", [*DAMAGES, "halved floats", "of another split", "gone"])
def test_a_damaged_file_is_drawn_again_with_one_line(
    name: str, drawn: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = load_run(TINY)
    first = splits(spec, tmp_path)
    (path,), (other,) = tmp_path.glob("*-test-*.arrow"), tmp_path.glob("*-validation-*.arrow")
    whole = path.read_bytes()
    if name == "gone":
        path.unlink()
    elif name == "of another split":
        shutil.copy(other, path)
        shutil.copy(files.beside(other), files.beside(path))
    elif name == "halved floats":
        numbers = np.frombuffer(whole[-400:], np.float32)
        path.write_bytes(whole[:-400] + (numbers / 2).tobytes())
    else:
        damage(path, name)
    with caplog.at_level(logging.WARNING, logger="longlag"):
        again = splits(spec, tmp_path)
    assert drawn == ["validation", "test", "test"]
    (line,) = caplog.messages
    why = "it is gone, and its checksum is there" if name == "gone" else "its checksum differs"
    assert line == f"{path} is drawn again: {why}"
    assert same(first, again) and path.read_bytes() == whole
    assert "LONGLAG_BOMB" not in os.environ
    assert same(first, splits(spec, tmp_path)) and len(drawn) == 3 and len(caplog.messages) == 1


@pytest.mark.fault
def test_a_file_that_changes_after_it_was_read_changes_nothing(tmp_path: Path) -> None:
    """Neither a number nor, as a mapped file that is cut off does, the life of the process."""
    spec = load_run(TINY)
    first = splits(spec, tmp_path)
    again = splits(spec, tmp_path)
    for path in tmp_path.glob("*.arrow"):
        path.write_bytes(b"")
    assert all(first[name].table[:] == again[name].table[:] for name in first)


def test_a_disk_that_cannot_be_written_costs_a_draw_and_no_run(
    drawn: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="longlag"):
        found = splits(load_run(TINY), tmp_path / "file")
    assert same(found, splits(load_run(TINY)))
    assert "cannot be kept" in caplog.text
