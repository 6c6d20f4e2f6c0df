"""Which of the conformance suite's cases are slow."""

from __future__ import annotations

from typing import Any

import pytest
import torch

SUITE = "test_conformance.py"
IN_DOUBLE = ("lstm", "slstm", "urnn", "s4d", "gated-deltanet")
"""Cells whose kernels `make test` compiles in double precision too, one of each kind of state and core."""


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A compiler takes a second for a kernel: `make test` compiles each cell once, other options and types are slow."""
    first: dict[str, dict[str, object]] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.name != SUITE or "compiled" not in item.fixturenames:
            continue
        params: dict[str, Any] = item.callspec.params
        name, options = params["cell"]
        double = params.get("dtype") == torch.float64 or item.originalname.startswith("test_recomputation")
        if (double and name not in IN_DOUBLE) or options != first.setdefault(name, options):
            item.add_marker(pytest.mark.slow)
