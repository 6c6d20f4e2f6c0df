"""The layers in plain torch that benchmarks compare with give the same outputs and gradients."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers import peer_of
from longlag.cells.stack import build


@pytest.mark.parametrize("name", ["s4d", "s5", "selective", "transformer"])
def test_a_peer_is_the_same_layer(name):
    layer = build(name, {}).layer(2, 8, torch.Generator().manual_seed(0))
    x = torch.randn(40, 3, 2, generator=torch.Generator().manual_seed(1))
    peer = peer_of(layer)
    assert peer is not None
    outputs, parameters = [layer(x)[0], peer(x)], list(layer.parameters())
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(y.sin().sum(), parameters) for y in outputs]
    for got, want in zip(*gradients, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4 * float(want.abs().max()))
