"""Chains of dense products and functions of rows, compiled, against torch's operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.rows import NORMED_GATED, OPENED
from longlag.kernels import Apply, Chain, Dense, RowFunction, run_chain
from longlag.kernels.compiled import compiled_chain


class Gelu(RowFunction):
    inputs, outputs = ("y",), ("v",)

    def core(self, x, p):
        return {"v": F.gelu(x.y)}


GELU = Gelu()
BRANCHED = Chain(
    "branched",
    ("s", "x", "z"),
    ("c", "d", "w", "b", "w_g", "n", "w_o"),
    (
        Dense("y", (("s", "c"), ("x", "d"))),
        Apply(GELU, ("y",), ("v",)),
        Dense("a", (("v", "w"),), "b", ("first", "second")),
        Apply(OPENED, ("first", "second"), ("opened",)),
        Dense("g", (("v", "w_g"),)),  # v is read twice, z by a function and as it is
        Apply(NORMED_GATED, ("z", "g"), ("normed",), ("n",)),
        Apply(OPENED, ("opened", "normed"), ("both",)),
        Dense("h", (("both", "w_o"), ("z", "w_g"))),
    ),
    ("h",),
)
"""Two terms, a bias, parts, a value of several readers, rows in a row, and products of what is no function's result."""
HEADS = 3


def given(dtype, size=2, steps=41, batch=3):
    """Inputs, one of which is columns of a wider tensor and one in heads, and parameters."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    wide = HEADS * size
    x = {"s": draw(steps, batch, 9)[..., 2:7], "x": draw(steps, batch, 1), "z": draw(steps, batch, HEADS, size)}
    shapes = {"c": (wide, 5), "d": (wide, 1), "w": (2 * wide, wide), "b": (2 * wide,), "w_g": (wide, wide),
              "n": (HEADS, size), "w_o": (wide, wide)}  # fmt: skip
    return [{name: value.requires_grad_() for name, value in group.items()}
            for group in (x, {name: draw(*shape) / shape[-1] ** 0.5 for name, shape in shapes.items()})]  # fmt: skip


def written_out(x, p):
    """`BRANCHED` by torch."""
    y = x["s"] @ p["c"].T + x["x"] @ p["d"].T
    v = F.gelu(y)
    first, second = (v @ p["w"].T + p["b"]).chunk(2, -1)
    g = (v @ p["w_g"].T).unflatten(-1, (HEADS, -1))
    z = x["z"]
    normed = z / torch.sqrt(z.square().mean(-1, keepdim=True) + 1e-5) * p["n"] * F.silu(g)
    both = first * torch.sigmoid(second) * torch.sigmoid(normed.flatten(-2))
    return both @ p["w_o"].T + z.flatten(-2) @ p["w_g"].T


def with_gradients(function, x, p):
    h = function(x, p)
    return [h, *torch.autograd.grad((h.sin() + h).sum(), [*x.values(), *p.values()])]


@pytest.mark.parametrize("size", [2, 16])
@pytest.mark.parametrize("kernel", ["plain", "compiled"])
def test_equals_its_steps_written_out(kernel, size, monkeypatch):
    monkeypatch.setattr("longlag.kernels.targets.c.chain_passes.BLOCK_ROWS", (24, 48))  # several blocks
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        x, p = given(dtype, size)
        assert not isinstance(compiled_chain(BRANCHED, dtype, torch.device("cpu")), str)
        got = with_gradients(lambda x, p: run_chain(BRANCHED, x, p, 2, kernel)["h"], x, p)
        for a, b in zip(got, with_gradients(written_out, x, p), strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_threads_share_the_rows(monkeypatch):
    x, p = given(torch.float64)
    want = with_gradients(lambda x, p: run_chain(BRANCHED, x, p)["h"], x, p)
    monkeypatch.setattr("longlag.kernels.targets.c.chain_passes.WORK_PER_THREAD", 1.0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        got = with_gradients(lambda x, p: run_chain(BRANCHED, x, p)["h"], x, p)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(got[0], want[0])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_nothing_is_computed_for_what_needs_no_gradient():
    x, p = given(torch.float64)
    full = with_gradients(lambda x, p: run_chain(BRANCHED, x, p)["h"], x, p)
    x["x"].requires_grad_(False), x["z"].requires_grad_(False), p["w_g"].requires_grad_(False)
    h = run_chain(BRANCHED, x, p)["h"]
    h.sin().add(h).sum().backward()
    assert x["x"].grad is None and p["w_g"].grad is None
    for name, want in zip((*x, *p), full[1:], strict=True):
        tensor = {**x, **p}[name]
        if tensor.requires_grad:
            assert torch.equal(tensor.grad, want), name
    with torch.no_grad():
        assert torch.equal(run_chain(BRANCHED, x, p)["h"], full[0])


def test_a_weight_that_does_not_fit_is_named():
    x, p = given(torch.float32)
    with pytest.raises(ValueError, match=r"w_o of the chain branched has shape \[6, 5\], expected \[6, 6\]"):
        run_chain(BRANCHED, x, {**p, "w_o": p["w_o"][:, :5]})


@pytest.mark.parametrize(
    ("steps", "outputs", "complaint"),
    [
        ((Dense("y", (("v", "w"),)),), ("y",), "reads v before it is made"),
        ((Dense("x", (("x", "w"),)),), ("x",), "makes a value twice"),
        ((Dense("y", (("x", "w"),)), Dense("z", (("x", "w"),))), ("z",), "is read or a result, and not both"),
        ((Dense("y", (("x", "w"),), None, ("a", "b")), Dense("z", (("a", "w"),))), ("z", "b"), "is a part of another"),
    ],
)
def test_a_chain_that_makes_no_sense_is_refused(steps, outputs, complaint):
    with pytest.raises(ValueError, match=complaint):
        Chain("wrong", ("x",), ("w",), steps, outputs)
