"""The faults of docs/faults.md: what longlag promises under each, and the tests that hold it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"
LINK = re.compile(r"\[[^\]]+\]\(\.\./([^)]+)\)|`(test_\w+)`")


class Promise(NamedTuple):
    """A row of the page.

    Args:
        fault: what is done, and to what.
        kept: what longlag promises.
        tests: each as pytest names it, ``tests/file.py::test_name``.
    """

    fault: str
    kept: str
    tests: tuple[str, ...]


def promises() -> list[Promise]:
    """The rows of all tables that end in a column of tests."""
    rows: list[Promise] = []
    tests = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| fault |"):
            tests = cells[-1] == "tests"
        elif tests and line.startswith("|") and not line.startswith("| ---"):
            rows.append(Promise(cells[0], cells[1], tuple(named(cells[-1]))))
        elif not line.startswith("|"):
            tests = False
    return rows


def named(cell: str) -> list[str]:
    """The tests that a cell names: a link to their file, then their names."""
    found, file = [], ""
    for link, name in LINK.findall(cell):
        file = link or file
        if name:
            found.append(f"{file}::{name}")
    return found
