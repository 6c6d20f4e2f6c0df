"""What all suites share: a home of their own, and runs so small that they take no time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

os.environ.setdefault("LONGLAG_WORKERS", "1")  # a worker takes seconds to start
torch.set_num_threads(1)  # the suite runs in two processes: more threads would only stand in each other's way

TINY: dict[str, Any] = {
    "task": {"name": "adding", "length": 6},
    "cell": "rnn",
    "model": {"hidden_size": 4},
    "training": {"batch_size": 4, "updates": 4, "eval_every": 2},
    "data": {"validation": 8, "test": 8},
    "probe": {"log_every": 2, "curves": False},  # a picture takes a second
}


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for tests that only add to it; making one takes a second or two."""
    return tmp_path_factory.mktemp("shared") / "home"


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The fields of a run that takes some hundredths of a second."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
