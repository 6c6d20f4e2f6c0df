"""What tests do with a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from longlag.spec import load_run
from longlag.tracking.callback import MlflowCallback
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import RunResult, train


def begin_study(path: Path) -> str:
    return Store.open(Home.open(path)).experiment("same", "note")


def points(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Every series of a run: step and value."""
    metrics = store.client.get_run(run_id).data.metrics
    return {key: [(m.step, m.value) for m in store.client.get_metric_history(run_id, key)] for key in metrics}


def trained(store: Store, experiment: str, fields: dict[str, Any], **place: Any) -> tuple[RunResult, MlflowCallback]:
    callback = store.callback(experiment, **place)
    return train(load_run(fields), [callback]), callback


def values(store: Store, run_id: str | None, name: str) -> list[tuple[int, float]]:
    assert run_id is not None
    return [(m.step, m.value) for m in store.client.get_metric_history(run_id, name)]
