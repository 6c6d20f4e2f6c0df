"""Evaluation splits on the disk: drawn once, checked when read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longlag.spec import RunSpec, load_run
from longlag.training.data import Split, splits
from longlag_tasks.adding import Adding
from longlag_tasks.number_names import NumberNames
from tests.conftest import TINY

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
@pytest.mark.parametrize("damage", ["a flipped bit", "half of it", "gone"])
def test_a_damaged_file_is_noticed_and_drawn_again(
    damage: str, drawn: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = load_run(TINY)
    first = splits(spec, tmp_path)
    (path,) = tmp_path.glob("*-test-*.arrow")
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(whole) // 2
        rest = bytes([whole[middle] ^ 1]) + whole[middle + 1 :] if damage == "a flipped bit" else b""
        path.write_bytes(whole[:middle] + rest)
    with caplog.at_level(logging.WARNING, logger="longlag"):
        again = splits(spec, tmp_path)
    assert drawn == ["validation", "test", "test"]
    assert "is drawn again" in caplog.text and str(path) in caplog.text
    assert same(first, again) and path.read_bytes() == whole


def test_a_disk_that_cannot_be_written_costs_a_draw_and_no_run(
    drawn: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger="longlag"):
        found = splits(load_run(TINY), tmp_path / "file")
    assert same(found, splits(load_run(TINY)))
    assert "cannot be kept" in caplog.text
