"""Functions of rows, compiled, against torch's operations; columns of a wider tensor, and their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from longlag.cells.convolution import ShortConvolution
from longlag.cells.rows import NORMED_GATED, QUERY
from longlag.kernels import RowFunction, columns, run_rows
from longlag.kernels.columns import places_of

HEADS, SIZE = 3, 5


class Several(RowFunction):
    """Two outputs, one input twice in a sum, and one that nothing reads."""

    inputs, parameters, outputs = ("a", "b"), ("w", "unread"), ("scaled", "copied")

    def core(self, x, p):
        total = self.sum(x.a * p.w)
        return {"scaled": x.a / (1 + total * total) + total, "copied": x.a}


SEVERAL = Several()


def given(dtype):
    """Two inputs ``[T, B, heads, size]`` that are columns of one tensor, and weights of every head."""
    generator = torch.Generator().manual_seed(0)
    packed, weight = (torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()
                      for shape in ((4, 2, 2 * HEADS * SIZE + 1), (HEADS, SIZE)))  # fmt: skip
    return packed, weight


def results(function, dtype, kernel, split=columns):
    packed, weight = given(dtype)
    parts = split(packed, [HEADS * SIZE, HEADS * SIZE, 1])
    values = [part.unflatten(-1, (HEADS, SIZE)) for part in parts[:2]]
    inputs = dict(zip(function.inputs, values, strict=False))
    found = run_rows(function, inputs, dict.fromkeys(function.parameters, weight), kernel)
    loss = sum((value.sin() * (k + 1)).sum() for k, value in enumerate(found.values())) + parts[2].sum()
    return [*found.values(), *torch.autograd.grad(loss, (packed, weight), allow_unused=True)]


@pytest.mark.parametrize("function", [NORMED_GATED, SEVERAL, QUERY], ids=lambda function: type(function).__name__)
def test_equals_torch(function):
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        want = results(function, dtype, "plain", lambda values, widths: values.split(widths, -1))
        for got, value in zip(results(function, dtype, "auto"), want, strict=True):
            assert (got is None) == (value is None)
            if value is not None:
                torch.testing.assert_close(got, value, rtol=tolerance, atol=tolerance)


def test_the_derivative_is_that_of_finite_differences():
    packed, weight = given(torch.float64)

    def function(packed, weight):
        y, g, _ = columns(packed, [HEADS * SIZE, HEADS * SIZE, 1])
        inputs = {"y": y.unflatten(-1, (HEADS, SIZE)), "g": g.unflatten(-1, (HEADS, SIZE))}
        return run_rows(NORMED_GATED, inputs, {"w": weight})["h"]

    assert torch.autograd.gradcheck(function, (packed, weight))


def test_threads_change_nothing_but_the_order_of_sums(monkeypatch):
    want = results(NORMED_GATED, torch.float64, "compiled")
    monkeypatch.setattr("longlag.kernels.targets.c.chain_passes.WORK_PER_THREAD", 1.0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        got = results(NORMED_GATED, torch.float64, "compiled")
    finally:
        torch.set_num_threads(before)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_gradients_of_columns_are_put_together_without_a_copy(monkeypatch):
    packed, _ = given(torch.float32)
    y, g = columns(packed[..., : 2 * HEADS * SIZE].contiguous(), [HEADS * SIZE, HEADS * SIZE])
    monkeypatch.setattr(torch, "cat", lambda *_: pytest.fail("the gradients are copied"))
    parts = {"y": y.unflatten(-1, (HEADS, SIZE)), "g": g.unflatten(-1, (HEADS, SIZE))}
    h = run_rows(NORMED_GATED, parts, {"w": torch.ones(1, SIZE)})["h"]
    assert torch.autograd.grad(h.sum(), packed)[0].any()


def test_tensors_that_share_numbers_have_gradients_of_their_own():
    whole = torch.randn(3, 2, 8)
    first, second = whole[..., :5], whole[..., 3:]
    places = places_of([first, second, first, whole[..., 5:]], 2)
    assert places[0].whole == places[3].whole and len({place.whole for place in places}) == 3
    assert places[1].whole < 0 and places[2].whole < 0


def test_what_has_no_kernel_runs_by_torch():
    class Rolled(RowFunction):
        inputs, outputs = ("x",), ("y",)

        def core(self, x: Any, p: Any):
            return {"y": x.x.roll(1, -1)}

    x = torch.randn(2, 3)
    assert torch.equal(run_rows(Rolled(), {"x": x}, {})["y"], x.roll(1, -1))
    assert torch.equal(run_rows(QUERY, {"x": x.half()}, {})["h"], run_rows(QUERY, {"x": x.half()}, {}, "plain")["h"])


@pytest.mark.parametrize("holes", [False, True])
def test_a_short_convolution_equals_that_by_torch(holes):
    generator = torch.Generator().manual_seed(0)
    part = ShortConvolution(6, generator, bias=True).double()
    x, window = (torch.randn(*shape, generator=generator).double() for shape in ((9, 3, 6), (3, 3, 6)))
    x.requires_grad_(), window.requires_grad_()
    mask = torch.arange(9)[:, None] < torch.tensor([9, 5, 9])
    mask[2:4, 2] = not holes
    found = []
    for kernel in ("plain", "compiled"):
        part.kernel = kernel
        y, following = part(x, window, mask)
        loss = (y * mask[..., None]).sin().sum() + following.sin().sum()
        found.append((y[mask], following, *torch.autograd.grad(loss, (x, window, *part.parameters()))))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert part.compiled(x, window, mask) is not None
