"""Checks that the linear, convolutional and attentive layers share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.cells import Cell, Stack, StateGradients
from longlag.cells.convolution import ShortConvolution
from longlag.testing.stacks import flat


def ragged_chunks_equal_the_whole(cell: Cell) -> None:
    """Sequences that end, or pause, in different chunks: outputs are held, states carried on."""
    random = torch.Generator().manual_seed(3)
    stack = Stack(cell, 3, 4, 2, random).double()
    x = torch.randn(12, 4, 3, generator=random).double()
    mask = torch.arange(12)[:, None] < torch.tensor([2, 7, 12, 12])
    mask[4:6, 3] = False  # a hole: the last example pauses
    whole, final = stack(x, None, mask)
    alone, last = stack(x[[0, 1, 2, 3, 6, 7, 8, 9, 10, 11], 3:])
    torch.testing.assert_close(whole[mask[:, 3], 3], alone[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole[4:6, 3], whole[3:4, 3].expand(2, -1))
    assert torch.equal(whole[2:, 0], whole[1:2, 0].expand(10, -1))
    state, outputs = None, []
    for chunk, exists in zip(x.split([4, 1, 7]), mask.split([4, 1, 7]), strict=True):
        part, state = stack(chunk, state, exists)
        outputs.append(part)
    assert state is not None
    torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-9, atol=1e-9)
    for got, want in zip(flat(state), flat(final), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    for got, want in zip(flat(final), flat(last), strict=True):
        torch.testing.assert_close(got[3], want[0], rtol=1e-9, atol=1e-9)


def gradients_stay_finite(cell: Cell, steps: int = 2000, unread: tuple[str, ...] = ()) -> None:
    """A loss at the end of a long sequence: every gradient, and the record of them, is finite.

    The last state has a gradient, but for states that the output of these parameters may not depend on.
    """
    random = torch.Generator().manual_seed(4)
    stack = Stack(cell, 2, 6, 1, random)
    x = torch.randn(steps, 2, 2, generator=random, requires_grad=True)
    record = StateGradients()
    outputs, _ = stack(x, records=[record])
    outputs[-1].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in stack.parameters())
    assert x.grad is not None and x.grad.isfinite().all()
    for name, squares in record.squares.items():
        assert squares.shape == (steps, 2) and squares.isfinite().all()
        assert name in unread or squares[-1].all()


def outputs_are_recorded(cell: Cell) -> None:
    """The record's ``h`` is the gradient at the layer's outputs, padding and all."""
    random = torch.Generator().manual_seed(5)
    stack = Stack(cell, 3, 4, 1, random).double()
    x = torch.randn(6, 2, 3, generator=random).double()
    mask = torch.arange(6)[:, None] < torch.tensor([4, 5])
    weight = torch.randn(6, 2, 4, generator=random).double()
    record = StateGradients()
    outputs, _ = stack(x, None, mask, [record])
    (outputs * weight).sum().backward()
    torch.testing.assert_close(record.squares["h"], weight.square().sum(-1))


def convolved(part: ShortConvolution | None, x: Tensor) -> Tensor:
    """A short convolution with SiLU from its weights, from zeros before the first step."""
    assert part is not None
    padded = F.pad(x, (0, 0, 0, 0, 3, 0))
    y = torch.zeros_like(x) if part.bias is None else part.bias.expand_as(x)
    for j, weight in enumerate(part.weight):
        y = y + weight * padded[3 - j : 3 - j + len(x)]
    return F.silu(y)
