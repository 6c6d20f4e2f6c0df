"""The interpreter of plans through the shipped suite: every built-in gated cell, and cells of every shape allowed."""

from __future__ import annotations

import pytest
import torch

from longlag import kernels, registry
from longlag.cells import Cell, GatedCell
from longlag.cells.stack import build
from longlag.testing import KernelConformance
from tests.cells.test_conformance import OPTIONS
from tests.kernels import zoo
from tests.kernels.zoo import CELLS, Complex

BUILT_IN = [(name, options) for name in registry.names("cell") for options in ({}, *OPTIONS.get(name, []))]
GATED = {
    "-".join([name, *(f"{k}={v}" for k, v in options.items())]): cell
    for name, options in BUILT_IN
    if isinstance(cell := build(name, options), GatedCell)
}


EVERY = GATED | {name: cell for name, cell in CELLS.items() if type(cell).__module__ == zoo.__name__}


class TestInterpreter(KernelConformance):
    target = "interpreter"

    @pytest.fixture(params=EVERY)
    def cell(self, request: pytest.FixtureRequest) -> Cell:
        return EVERY[request.param]

    def test_it_takes_every_gated_cell(self, cell: Cell) -> None:
        assert isinstance(cell, GatedCell) and kernels.refusal(cell, kernel="interpreter") is None


def test_it_runs_only_where_it_is_named() -> None:
    from longlag.kernels.targets import automatic

    assert [target.name for target in automatic("cpu")] == ["c"]
    assert kernels.which(Complex(), kernel="interpreter") == "interpreter"
    reason = kernels.refusal(Complex(), torch.bfloat16, kernel="interpreter")
    assert reason == "the interpreter runs in float32 and float64, not in bfloat16"
