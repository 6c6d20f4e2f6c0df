"""Any task pairs with any cell: every built-in cell trains on two tasks, every built-in task with two cells."""

from __future__ import annotations

import math
from typing import Any

import pytest

from longlag import registry
from longlag.errors import UserError
from longlag.spec import load_run
from longlag.training import RunResult, train
from tests.tasks.small import SMALL

SHORT: dict[str, Any] = {
    "model": {"hidden_size": 8},
    "optimizer": {"name": "adam", "lr": 1e-3},
    "clip": {"norm": 1},
    "training": {"updates": 4, "eval_every": 2, "batch_size": 4},
    "data": {"validation": 12, "test": 12},
    "probe": {"batch_size": 4},
}
TASKS = [
    pytest.param({"name": "adding", "length": 12}, id="adding"),
    pytest.param({"name": "copy-memory", "length": 5}, id="copy-memory", marks=pytest.mark.slow),
]


def built_in(kind: registry.Kind) -> list[str]:
    return [name for name in registry.names(kind) if registry.origin(kind, name).startswith("longlag ")]


def check(result: RunResult) -> None:
    assert result.outcome in ("budget", "solved"), result.reason
    assert result.test is not None and all(math.isfinite(value) for value in result.test.values())
    assert "final_horizon" in result.gradient


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", built_in("cell"))
def test_every_cell_trains(cell: str, task: dict[str, Any]) -> None:
    check(train(load_run({**SHORT, "task": task, "cell": cell, "model": {"hidden_size": 8, "depth": 2}})))


@pytest.mark.parametrize("cell", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", built_in("task"))
def test_every_task_trains(task: str, cell: str) -> None:
    try:
        result = train(load_run({**SHORT, "task": {"name": task, **SMALL.get(task, {})}, "cell": cell}))
    except UserError as error:
        if "pip install" in str(error) or "needs task.path" in str(error):
            pytest.skip(str(error))
        raise
    check(result)
