"""What tests do with a store."""

from __future__ import annotations

from pathlib import Path

from harness.tracking.home import Home
from harness.tracking.store import Store


def begin_study(path: Path) -> str:
    return Store.open(Home.open(path)).experiment("same", "note")


def points(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every series of a run: step and value."""
    metrics = store.client.get_run(run_id).data.metrics
    return {key: [(m.step, m.value) for m in store.client.get_metric_history(run_id, key)] for key in metrics}
