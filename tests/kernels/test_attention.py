"""Causal attention in C against torch's, values and gradients, at the edges of tiles and blocks."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from longlag.cells import attention
from longlag.cells.attention import attend, rotate, split
from longlag.kernels.targets import attention_for
from longlag.kernels.targets.c import cc

pytestmark = pytest.mark.skipif(cc.compiler() is None, reason="there is no C compiler on this machine")

SIZES = [(1, 1, 1, 2), (2, 3, 1, 10), (17, 8, 3, 4), (64, 2, 2, 32), (65, 5, 1, 40), (130, 4, 2, 8), (300, 1, 1, 64)]
"""Steps, heads, examples, and the size of a head."""


def packed(steps, heads, batch, size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(steps)
    return torch.randn(steps, batch, 3 * heads * size, generator=generator, dtype=dtype).requires_grad_()


def seed_for(values):
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(1), dtype=values.dtype)


def by_torch(values, heads, rotary):
    q, k, v = (split(part, heads) for part in values.chunk(3, -1))
    q, k = (rotate(q, 0), rotate(k, 0)) if rotary else (q, k)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).permute(2, 0, 1, 3).flatten(2)


def both(function, values, heads, rotary=True):
    """The outputs, and the gradient by all that is attended to."""
    outputs = function(values, heads, rotary)
    return outputs, *torch.autograd.grad(outputs, values, seed_for(outputs))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_torch(size):
    for dtype, rotary, tolerance in (
        (torch.float64, True, 1e-10),
        (torch.float32, True, 1e-5),
        (torch.float64, False, 1e-10),
    ):
        steps, heads, batch, width = size
        values = packed(steps, heads, batch, width, dtype)
        assert attention_for(values) is not None
        wanted = both(by_torch, values, heads, rotary)
        for got, want in zip(both(attend, values, heads, rotary), wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_large_scores_do_not_overflow():
    values = packed(130, 2, 1, 8, torch.float32)
    with torch.no_grad():
        values *= 15  # scores of some hundred
    got, want = both(attend, values, 2), both(by_torch, values.double(), 2)
    torch.testing.assert_close(got[0].double(), want[0], rtol=1e-3, atol=1e-2)
    assert got[1].isfinite().all()


def test_an_example_has_the_same_bits_whatever_the_batch():
    values = packed(70, 3, 4, 12, torch.float32)
    outputs, gradient = both(attend, values, 3)
    alone = values[:, 2:3].detach().clone().requires_grad_()
    single = attend(alone, 3, True)
    assert torch.equal(single, outputs[:, 2:3])
    (by_alone,) = torch.autograd.grad(single, alone, seed_for(outputs)[:, 2:3])
    assert torch.equal(by_alone, gradient[:, 2:3])


def test_threads_change_nothing(monkeypatch):
    values = packed(40, 3, 2, 6)
    wanted = both(attend, values, 3)
    monkeypatch.setattr("longlag.kernels.targets.c.attention.WORK_PER_THREAD", 1.0)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert all(map(torch.equal, both(attend, values, 3), wanted))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("value", "part"), [("nan", 0), ("nan", 1), ("nan", 2), ("inf", 2)])
def test_nan_and_infinity_come_through_in_their_example_alone(value, part):
    values = packed(80, 2, 2, 4, torch.float32)
    with torch.no_grad():
        values[70, 1, part * 8] = float(value)  # the query, key or value of the first head
    outputs, gradient = both(attend, values, 2)
    assert not outputs[70, 1, :4].isfinite().all() and not gradient[:, 1].isfinite().all()
    assert part == 0 or not outputs[71:, 1, :4].isfinite().all(-1).any()
    assert outputs[:, 0].isfinite().all() and outputs[:, 1, 4:].isfinite().all() and gradient[:, 0].isfinite().all()
    assert outputs[:64].isfinite().all()  # blocks before it


def test_without_a_kernel_torch_attends(monkeypatch):
    values = packed(9, 2, 2, 4)
    wanted = both(attend, values, 2)
    monkeypatch.setattr(attention, "attention_for", lambda like: None)
    for got, want in zip(both(attend, values, 2), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert attention_for(values.half()) is None
