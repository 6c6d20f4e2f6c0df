"""What of the cells' suites compiles: a compiler takes a second for a kernel."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from longlag.cells.base import Compilable

SUITE, BLOCKS = "test_conformance.py", "test_block.py"
IN_DOUBLE = ("lstm", "slstm", "urnn", "s4d", "gated-deltanet")
"""Cells whose kernels `make test` compiles in double precision too, one of each kind of state and core."""


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` compiles each cell once for the conformance suite; other options and types are slow, blocks' too."""
    first: dict[str, dict[str, object]] = {}
    for item in items:
        if not isinstance(item, pytest.Function) or "compiled" not in item.fixturenames:
            continue
        params: dict[str, Any] = item.callspec.params
        double = params.get("dtype") == torch.float64 or item.originalname.startswith("test_recomputation")
        if item.path.name == BLOCKS and double:
            item.add_marker(pytest.mark.slow)
        if item.path.name == SUITE:
            name, options = params["cell"]
            if (double and name not in IN_DOUBLE) or options != first.setdefault(name, options):
                item.add_marker(pytest.mark.slow)


class PlainInDouble:
    """The kernel of a module that was given none: the plain loop for one with parameters in double precision."""

    def __get__(self, module: torch.nn.Module | None, owner: type) -> str:
        parameter = None if module is None else next(module.parameters(), None)
        return "plain" if parameter is not None and parameter.dtype == torch.float64 else "auto"


@pytest.fixture(autouse=True)
def equations_in_double_precision_run_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed forms hold for the equations; that kernels compute the same is what the conformance suite says."""
    monkeypatch.setattr(Compilable, "kernel", PlainInDouble())
