# ruff: noqa: RUF012 (declarations of cells are dictionaries of their classes)
"""Scans, compiled, against the plain loop: states and tensors with every set of axes, sizes, masks, threads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import softplus

from longlag import kernels
from longlag.cells import ScanCell, StateGradients
from longlag.cells.delta import GatedDeltaNet
from longlag.cells.linear_attention import GLA
from longlag.kernels.compiler.axes import summed
from longlag.kernels.compiler.graph import reachable
from longlag.kernels.compiler.scan_plan import Kind, make_scan_plan
from longlag.kernels.compiler.trace import Untraceable
from longlag.testing.stacks import naming

VK, V, K, ONE = ("v", "k"), ("v",), ("k",), ()


class Core(ScanCell):
    """Run by itself, without a layer around it."""

    def layer(self, input_size, hidden_size, generator=None):
        raise NotImplementedError


class General(Core):
    """Decay, a rank-one change read from the old state, and a write: the general matrix state."""

    inputs = {"w": K, "a": K, "b": K, "v": V, "k": K, "q": K}

    def core(self, x, s, p):
        S = s.S * x.w + self.sum(s.S * x.a, "k") * x.b + x.v * x.k
        return {"S": S, "y": self.sum(S * x.q, "k")}


class Everything(Core):
    """States, inputs, parameters and outputs of every kind, functions and choices."""

    states = {"S": VK, "m": V, "z": K, "c": ONE}
    inputs = {"g": VK, "v": V, "k": K, "i": ONE}
    parameters = {"A": VK, "a": V, "r": K, "o": ONE}
    outputs = {"y": V, "all": VK}

    def core(self, x, s, p):
        c = torch.maximum(torch.sigmoid(s.c * p.o), x.i)
        z = torch.tanh(p.r) * s.z + x.k * c
        scale = 1 / (1 + self.sum(z * z, "k"))
        S = torch.exp(-softplus(p.A) * x.g.abs()) * s.S + torch.where(x.v > 0, x.v, 0.1 * x.v) * z * scale
        m = torch.sigmoid(p.a) * s.m + self.sum(S * x.k, "k") / (1 + self.sum(S * S, "k"))
        return {"S": S, "m": m, "z": z, "c": c, "y": torch.tanh(m) + x.v * c, "all": S * x.k + m.clamp(-1, 1)}


class Mean(Core):
    """A mean over the second axis, of what does and of what does not depend on it; two sums in a row."""

    inputs = {"v": V, "k": K}

    def core(self, x, s, p):
        centred = s.S - self.mean(s.S, "k")
        S = 0.9 * centred * torch.rsqrt(1 + self.sum(centred * centred, "k")) + x.v * x.k
        return {"S": S, "y": self.sum(S + x.v, "k") + self.mean(x.v, "k")}


class Elementwise(Core):
    """One axis alone."""

    axes = ("h",)
    states = {"h": ("h",)}
    inputs = {"f": ("h",), "u": ("h",), "b": ()}
    outputs = {"y": ("h",)}

    def core(self, x, s, p):
        f = torch.sigmoid(x.f)
        h = f * s.h + (1 - f) * x.u * x.b
        return {"h": h, "y": torch.tanh(h)}


class Channels(Core):
    """N complex states for every channel, the same at every step."""

    axes = ("h", "n")
    states = {"re": axes, "im": axes}
    inputs = {"u": ("h",)}
    parameters = dict.fromkeys(("a_re", "a_im", "b_re", "b_im", "c_re", "c_im"), axes)
    outputs = {"y": ("h",)}

    def core(self, x, s, p):
        re = p.a_re * s.re - p.a_im * s.im + p.b_re * x.u
        im = p.a_re * s.im + p.a_im * s.re + p.b_im * x.u
        return {"re": re, "im": im, "y": self.sum(p.c_re * re - p.c_im * im, "n")}


class Dense(Core):
    """Two products with square matrices in a row; outputs that are sums over the first axis."""

    inputs = {"v": V, "k": K, "c": ONE}
    parameters = {"W": ("k", "k"), "U": ("k", "k")}
    outputs = {"y": K, "z": ONE, "r": V}

    def core(self, x, s, p):
        R = torch.sigmoid(s.S @ p.W + x.v * x.k) @ p.U
        y = x.k * x.c * self.sum(R * x.v, "v") - self.sum(s.S, "v")
        return {"S": torch.tanh(R) + 0.5 * s.S, "y": y, "z": self.sum(self.sum(R, "k"), "v"), "r": self.sum(R, "k")}


class Linear(Core):
    """A product and nothing else: its gradient reads what it overwrites."""

    inputs = {"v": V, "k": K}
    parameters = {"W": ("k", "k")}

    def core(self, x, s, p):
        S = s.S @ p.W
        return {"S": S, "y": self.sum(S * x.k, "k") + x.v}


CORES = (General(), Everything(), Mean(), Elementwise(), Channels(), GatedDeltaNet(), Dense(), Linear())
CELLS = {type(cell).__name__: cell for cell in CORES}


@pytest.mark.parametrize("part", ["cell", "state", "input", "parameter", "output", "axis"])
def test_no_name_of_a_cell_reaches_the_c_source_unless_it_is_an_identifier(part):
    bad = "z */ int injected; /*"
    names = {"cell": "Plain", "state": "s", "input": "u", "parameter": "a", "output": "y", "axis": "h"} | {part: bad}
    axes = (names["axis"],)

    def core(self, x, s, p):
        new = getattr(p, names["parameter"]) * getattr(s, names["state"]) + getattr(x, names["input"])
        return {names["state"]: new, names["output"]: new * 2}

    declared = {f"{kind}s": {names[kind]: axes} for kind in ("state", "input", "parameter", "output")}
    cell = type(names["cell"], (Core,), {"axes": axes, **declared, "core": core})()
    with pytest.raises(Untraceable, match="letters, digits and underscores"):
        make_scan_plan(cell)


SIZES = {
    "one-of-each": (1, 1, 1, 1, 1),
    "odd": (7, 3, 2, 5, 3),
    "several-parts": (5, 2, 1, 75, 6),
    "whole-vectors": (9, 2, 2, 32, 16),
    "three-vectors": (6, 1, 1, 21, 9),
}
"""Steps, examples, heads, and elements of the first and second axis."""
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
IN_FLOAT32 = ("General",)
"""Cells with a kernel in float32 here; those of the others are slow tests, and of longlag's own in tests/cells."""


def tensors(cell, dtype, steps, batch, heads, first, second) -> tuple[Any, Any, Any]:
    """Inputs, parameters and states, all of which require gradients."""
    size = dict(zip(cell.axes, (first, second), strict=False))
    generator = torch.Generator().manual_seed(0)

    def draw(group, *lead):
        shapes = {name: (*lead, *(size[axis] for axis in own)) for name, own in group.items()}
        return {n: (0.4 * torch.randn(s, generator=generator)).to(dtype).requires_grad_() for n, s in shapes.items()}

    return draw(cell.inputs, steps, batch, heads), draw(cell.parameters, heads), draw(cell.states, batch, heads)


def run(cell, given: tuple[Any, Any, Any], kernel, mask=None, chunk=None, record=True):
    """Outputs, final states, every gradient of a loss that weighs all of them, and squared norms."""
    found = StateGradients() if record else None
    outputs, final = kernels.run_scan(cell, *given, mask, found, kernel, chunk)
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (value * torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)).sum()
        for value in [*outputs.values(), *final.values()]
    )
    leaves = {f"{k} {name}": t for k, group in zip("xps", given, strict=True) for name, t in group.items()}
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    result = {f"y {n}": t.detach() for n, t in outputs.items()} | {f"last {n}": t.detach() for n, t in final.items()}
    result |= {
        f"d {n}": torch.zeros_like(t) if g is None else g for (n, t), g in zip(leaves.items(), grads, strict=True)
    }
    return result | ({f"|d {n}|": t.sqrt() for n, t in found.squares.items()} if found else {})


def agree(got, want, tolerance):
    for name, value in want.items():
        scale = max(float(value.abs().max()), 1e-3)
        torch.testing.assert_close(got[name].double(), value.double(), rtol=0, atol=tolerance * scale, msg=naming(name))


def holes(steps, batch):
    """Sequences that end early, one that pauses, and one that begins late."""
    mask = torch.arange(steps)[:, None] < steps - torch.arange(batch)
    mask[steps // 3 : steps // 2, -1] = False
    mask[0, 0] = steps == 1
    return mask


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float64) for name in CELLS),
        *((name, torch.float32) for name in CELLS if name in IN_FLOAT32),
        *(pytest.param(name, torch.float32, marks=pytest.mark.slow) for name in CELLS if name not in IN_FLOAT32),
    ],
)
def test_equals_the_plain_loop(name, dtype, size):
    cell, mask, tolerance = CELLS[name], holes(*size[:2]), TOLERANCE[dtype]
    given = tensors(cell, dtype, *size)
    want = run(cell, given, "plain", mask)
    for chunk in (None, 1, 4):
        agree(run(cell, given, "compiled", mask, chunk), want, tolerance)
    agree(run(cell, given, "compiled", record=False), run(cell, given, "plain", record=False), tolerance)


@pytest.mark.parametrize("name", ["General", "Everything"])
def test_threads_change_nothing_but_the_order_of_sums(name, monkeypatch):
    cell = CELLS[name]
    given = tensors(cell, torch.float64, 5, 7, 2, 20, 6)
    want = run(cell, given, "compiled")
    monkeypatch.setattr("longlag.kernels.targets.c.scan_passes.WORK_PER_THREAD", 1.0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        got, again = run(cell, given, "compiled"), run(cell, given, "compiled")
    finally:
        torch.set_num_threads(before)
    agree(got, want, 1e-14)
    assert all(torch.equal(got[n], want[n]) for n in got if not n.startswith("d p "))
    assert all(torch.equal(got[n], again[n]) for n in got)


def test_what_is_not_needed_is_not_computed_and_inference_keeps_nothing():
    cell = GLA()
    inputs, parameters, states = tensors(cell, torch.float64, 6, 2, 1, 4, 3)
    whole = run(cell, (inputs, parameters, states), "compiled")
    with torch.no_grad():
        outputs, _ = kernels.run_scan(cell, inputs, parameters, states, kernel="compiled")
    assert torch.equal(outputs["y"], whole["y y"]) and not outputs["y"].requires_grad
    inputs = {name: tensor if name == "w" else tensor.detach() for name, tensor in inputs.items()}
    outputs, _ = kernels.run_scan(cell, inputs, parameters, {"S": states["S"].detach()}, kernel="compiled")
    outputs["y"].sum().backward()
    assert inputs["w"].grad is not None and inputs["w"].grad.any()


def test_tiny_and_huge_gradients_keep_their_norm():
    """Squares of floats leave the range of floats: the norm is taken in double there."""
    cell = CELLS["General"]
    for scale in (1e-28, 1e28):
        given = tensors(cell, torch.float32, 4, 1, 1, 8, 4)
        record = StateGradients()
        outputs, _ = kernels.run_scan(cell, *given, record=record, kernel="compiled")
        (outputs["y"] * scale).sum().backward()
        plain = StateGradients()
        outputs, _ = kernels.run_scan(cell, *given, record=plain, kernel="plain")
        (outputs["y"] * scale).sum().backward()
        torch.testing.assert_close(record.squares["S"].sqrt(), plain.squares["S"].sqrt(), rtol=1e-5, atol=0)


def refused(**attributes):
    return kernels.refusal(type("Own", (Core,), attributes)())


def test_what_cannot_be_compiled_is_said():
    inputs = {"v": V, "k": K}

    def mixing(self, x, s, p):
        S = s.S + x.v * x.k * self.sum(s.S, "v")
        return {"S": S, "y": self.sum(S, "k")}

    assert "sums over the cell's first axis, v, along which" in refused(inputs=inputs, core=mixing)

    def dropping(self, x, s, p):
        S = s.S + x.v * x.k
        return {"S": S, "y": S.sum(-1)}

    assert "sums without keeping the axis: use the cell's own sum" in refused(inputs=inputs, core=dropping)

    def short(self, x, s, p):
        return {"S": x.v + 0 * self.sum(s.S, "k"), "y": x.v}

    assert "the state 'S' that it returns has not the axes" in refused(inputs=inputs, core=short)

    def product(self, x, s, p):
        S = s.S + x.v @ x.k
        return {"S": S, "y": self.sum(S, "k")}

    assert "multiplies matrices of which the second is no parameter" in refused(inputs=inputs, core=product)

    def rolled(self, x, s, p):
        S = torch.roll(s.S, 1, -1) + x.v * x.k
        return {"S": S, "y": self.sum(S, "k")}

    assert "which the compiler has no rule for" in refused(inputs=inputs, core=rolled)

    def counting(self, x, s, p):
        S = s.S + x.v * x.k
        return {"S": S, "y": self.sum(S, "k") / S.shape[-1]}

    assert "it uses the number of elements along an axis" in refused(inputs=inputs, core=counting)

    def row(self, x, s, p):
        S = s.S + x.v * x.k
        return {"S": S, "y": x.k}

    assert "its output y is no sum over the cell's first axis, v" in refused(inputs=inputs, core=row, outputs={"y": K})

    def scaled(self, x, s, p):
        S = s.S @ (2 * p.W)
        return {"S": S, "y": self.sum(S, "k")}

    matrix = {"W": ("k", "k")}
    assert "a square matrix other than in one product" in refused(inputs=inputs, core=scaled, parameters=matrix)

    def twice(self, x, s, p):
        S = torch.tanh(s.S @ p.W) @ p.W
        return {"S": S, "y": self.sum(S, "k")}

    assert "a square matrix other than in one product" in refused(inputs=inputs, core=twice, parameters=matrix)
    assert "only a parameter may be a square matrix" in refused(inputs=inputs | matrix, core=row)


def test_tensors_that_do_not_fit_are_named():
    cell = GLA()
    inputs, parameters, states = tensors(cell, torch.float32, 3, 2, 1, 4, 5)
    for kernel in ("plain", "compiled"):
        wrong = r"input k of GLA has shape \(3, 2, 1, 4\), expected \[steps, batch, heads, k\] = \[3, 2, 1, 5\]"
        with pytest.raises(ValueError, match=wrong):
            kernels.run_scan(cell, inputs | {"k": torch.zeros(3, 2, 1, 4)}, parameters, states, kernel=kernel)
        with pytest.raises(ValueError, match="state S of GLA is missing"):
            kernels.run_scan(cell, inputs, parameters, {}, kernel=kernel)


def test_products_of_a_tile_are_few():
    """What is the same along an axis leaves the sum: alpha in Gated DeltaNet; sums over lanes are joined."""
    plan = make_scan_plan(GatedDeltaNet())
    gradients = list(reachable(plan.core.gradients.values()))
    assert sum(summed(node) == "v" for node in gradients if plan.kind(node) is Kind.ROW) == 2  # for q and for k
    forward = [
        node for node in reachable(plan.core.outputs.values()) if plan.kind(node) is Kind.TILE and not node.is_leaf
    ]
    assert [node.op for node in forward].count("mul") == 4
