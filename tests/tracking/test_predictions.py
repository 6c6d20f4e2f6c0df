"""What the model does, as it stands beside a run: a table for every task, a picture where the task draws one."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from longlag.spec import load_run
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training import train


@pytest.mark.parametrize(
    ("task", "picture"), [({"name": "adding", "length": 6}, False), ({"name": "copy-memory", "length": 3}, True)]
)
def test_predictions_are_kept_with_the_run(
    shared_home: Path, tiny: dict[str, Any], task: dict[str, Any], picture: bool
) -> None:
    store = Store.open(Home.open(shared_home))
    callback = store.callback(store.experiment("predictions"))
    train(load_run({**tiny, "task": task}), [callback])
    assert callback.run_id is not None
    kept = {item.path for item in store.client.list_artifacts(callback.run_id)}
    assert "predictions.csv" in kept and ("predictions.png" in kept) == picture
    with Path(store.client.download_artifacts(callback.run_id, "predictions.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and all(row["example"] for row in rows)


def test_further_test_splits_are_measured_and_recorded(shared_home: Path, tiny: dict[str, Any]) -> None:
    store = Store.open(Home.open(shared_home))
    callback = store.callback(store.experiment("predictions"))
    data = {**tiny["data"], "beyond": {"longer": {"length": 20}}}
    result = train(load_run({**tiny, "data": data}), [callback])
    assert callback.run_id is not None and set(result.beyond) == {"longer"}
    run = store.client.get_run(callback.run_id)
    assert run.data.metrics["longer/mse"] == result.beyond["longer"]["mse"] != result.test["mse"]  # type: ignore[index]
    assert {i.dataset.name for i in run.inputs.dataset_inputs} == {"adding-v1-validation", "adding-v1-test"}
