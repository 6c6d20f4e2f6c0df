"""Which loop runs, and what is said when it is the plain one."""

from __future__ import annotations

import logging

import pytest
import torch

from longlag import kernels
from longlag.cells.base import GatedCell
from longlag.kernels import Gate
from longlag.kernels.targets.c import blas, cc
from tests.kernels.zoo import Peephole, compiled


class Rolled(GatedCell):
    gates = (Gate("a"),)

    def core(self, g, s, p):
        return {"h": torch.roll(torch.tanh(g.a), 1, -1)}


class Broken(GatedCell):
    gates = (Gate("a"),)

    def core(self, g, s, p):
        return {"h": g.b}


def run(cell, dtype=torch.float32, **options):
    layer = cell.layer(2, 4).to(dtype)
    state = {name: torch.zeros(3, 4, dtype=dtype) for name in cell.states}
    return kernels.unroll(cell, layer.weights(), torch.zeros(5, 3, 2, dtype=dtype), state, **options)


def test_which_loop_runs_can_be_asked_and_chosen():
    cell = Peephole()
    assert kernels.which(cell) == "compiled"
    assert kernels.which(cell, kernel="plain") == "plain"
    assert kernels.which(cell, torch.bfloat16) == "plain"
    assert kernels.refusal(cell) is None
    for kernel in ("auto", "plain", "compiled"):
        assert run(cell, kernel=kernel)[0].shape == (5, 3, 4)
    with pytest.raises(ValueError, match="unknown kernel 'fast': one of auto, plain, compiled, c, interpreter"):
        run(cell, kernel="fast")
    assert set(kernels.tags()) == {"compiler", "flags", "blas"}


@pytest.mark.parametrize(
    "cell, dtype, device, words",
    [
        (Rolled(), torch.float32, "cpu", "Rolled is not compiled: it uses aten.roll"),
        (Broken(), torch.float32, "cpu", "tracing it raised AttributeError"),
        (Peephole(), torch.bfloat16, "cpu", "float32 and float64, not in bfloat16"),
        (Peephole(), torch.float32, "cuda", "on the CPU, not on cuda"),
    ],
)
def test_a_refusal_is_one_sentence_that_says_why(cell, dtype, device, words):
    reason = kernels.refusal(cell, dtype, device)
    assert reason is not None and words in reason and "\n" not in reason
    with pytest.raises(ValueError, match="not"):
        kernels.which(cell, dtype, device, kernel="compiled")


INJECTED = "a */ int injected(void) { return 7; } /*"


@pytest.mark.fault
@pytest.mark.parametrize("part", ["cell", "gate", "state", "unit"])
def test_no_name_of_a_cell_reaches_the_c_source_unless_it_is_an_identifier(part):
    names = {"cell": "Plain", "gate": "z", "state": "h", "unit": "u"} | {part: INJECTED}

    def core(self, g, s, p):
        return {names["state"]: torch.tanh(getattr(g, names["gate"])) * getattr(p, names["unit"])}

    states = (names["state"],)
    fields = {"gates": (Gate(names["gate"], sources=states),), "states": states, "outputs": states}
    cell = type(names["cell"], (GatedCell,), {**fields, "units": (names["unit"],), "core": core})()
    said = f"its name {INJECTED!r} should be letters, digits and underscores"
    assert said in kernels.refusal(cell)
    assert kernels.which(cell) == "plain" and run(cell)[0].shape == (5, 3, 4)
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        run(cell, kernel="compiled")


def test_no_compiler_and_no_blas(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cc, "compiler", lambda: None)
        assert "needs a C compiler" in str(kernels.refusal(Peephole()))
        assert run(Peephole())[0].shape == (5, 3, 4)
    monkeypatch.setattr(blas, "find", lambda: None)
    assert "needs a BLAS" in str(kernels.refusal(Peephole()))


def test_scipys_blas_serves_as_well(monkeypatch):
    found = blas.from_scipy()
    assert found is not None and not found.threads_are_local
    results = []
    for way in (blas.find(), found):
        monkeypatch.setattr(blas, "find", lambda way=way: way)
        layer = Peephole().layer(12, 4, torch.Generator().manual_seed(0))  # so many inputs that a BLAS projects them
        x = torch.randn(5, 3, 12, generator=torch.Generator().manual_seed(1)).requires_grad_()
        layer.kernel = "compiled"
        outputs = layer(x)[0]
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), (x, *layer.parameters()))))
    torch.testing.assert_close(*results)


def test_falling_back_is_said_once(caplog):
    cell = Rolled()
    kernels._said.clear()
    with caplog.at_level(logging.WARNING, logger="longlag"):
        run(cell)
        run(cell)
    assert [r.message for r in caplog.records] == [f"{kernels.refusal(cell)}; the plain loop runs instead"]
    with pytest.raises(ValueError, match=r"aten\.roll"):
        run(cell, kernel="compiled")


def test_mixed_dtypes_and_tensor_subclasses_are_refused():
    cell = Peephole()
    layer = cell.layer(2, 4)
    state = {name: torch.zeros(3, 4) for name in cell.states}
    with pytest.raises(ValueError, match="one dtype and device"):
        compiled(cell, layer.weights(), torch.zeros(5, 3, 2, dtype=torch.float64), state)
    with pytest.raises(ValueError, match="at least one step"):
        compiled(cell, layer.weights(), torch.zeros(0, 3, 2), state)
