"""What other processes run in a test."""

from __future__ import annotations

from pathlib import Path

from harness.tracking.home import Home
from harness.tracking.store import Store


def begin_study(path: Path) -> str:
    return Store.open(Home.open(path)).experiment("same", "note")
