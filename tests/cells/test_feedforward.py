"""The layer without recurrence: what it computes, and that it remembers nothing."""

from __future__ import annotations

import pytest
import torch

from longlag.cells import Stack
from longlag.cells.feedforward import FeedForward, FeedForwardOptions


def test_inputs_reach_their_own_step_alone() -> None:
    random = torch.Generator().manual_seed(1)
    stack = Stack(FeedForward(), 3, 5, 2, random)
    x = torch.randn(6, 4, 3, generator=random)
    changed = x.clone()
    changed[2] += 1
    before, after = stack(x)[0], stack(changed)[0]
    differs = (before != after).flatten(1).any(1)
    assert differs.tolist() == [step == 2 for step in range(6)]


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_equals_a_linear_layer_and_its_squashing_function(activation: str) -> None:
    layer = FeedForward(FeedForwardOptions(activation=activation)).layer(3, 5, torch.Generator().manual_seed(0))
    x = torch.randn(7, 4, 3)
    want = getattr(torch, activation)(torch.nn.functional.linear(x, layer.weight_ih, layer.bias))
    torch.testing.assert_close(layer(x)[0], want)
