"""SRU: a loop in NumPy, the two shapes of its highway, the authors' initialisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longlag.cells import Stack
from longlag.cells.sru import SRU, SRUOptions
from tests.cells.sequences import gradients_stay_finite, ragged_chunks_equal_the_whole


@pytest.mark.parametrize("inputs", [3, 5])
@pytest.mark.parametrize("rescale", [True, False])
def test_equals_the_equations(inputs: int, rescale: bool) -> None:
    hidden = 5
    cell = SRU(SRUOptions(highway_bias=-1.0, rescale=rescale))
    stack = Stack(cell, inputs, hidden, 1, torch.Generator().manual_seed(0)).double()
    layer = stack.layers[0]
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    x = np.random.default_rng(0).normal(size=(20, inputs))
    alpha = np.sqrt(1 + 2 * np.exp(-1.0)) if rescale else 1.0
    w = p["weight_ih"].reshape(-1, hidden, inputs)
    b_f, b_r = p["bias"].reshape(2, hidden)
    c, want = np.zeros(hidden), []
    for x_t in x:
        f = 1 / (1 + np.exp(-(w[1] @ x_t + p["v_f"] * c + b_f)))
        r = 1 / (1 + np.exp(-(w[2] @ x_t + p["v_r"] * c + b_r)))
        c = f * c + (1 - f) * (w[0] @ x_t)
        want.append(r * c + (1 - r) * (w[3] @ x_t if inputs != hidden else alpha * x_t))
    got, state = stack(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach().numpy(), np.array(want), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(state[0]["c"][0].detach().numpy(), c, rtol=1e-12, atol=1e-12)


def test_initialisation() -> None:
    inputs, hidden = 30, 3000
    layer = SRU(SRUOptions(highway_bias=-2.0)).layer(inputs, hidden, torch.Generator().manual_seed(0))
    variances = layer.get_parameter("weight_ih").detach().view(4, -1).var(1) * inputs
    alpha = 1 + 2 * np.exp(-2.0)
    torch.testing.assert_close(variances, torch.tensor([1.0, 0.5, 0.5, alpha], dtype=torch.float32), rtol=0.03, atol=0)
    torch.testing.assert_close(layer.get_parameter("v_f").var(), torch.tensor(0.5), rtol=0.06, atol=0)
    assert layer.get_parameter("bias").view(2, -1).unique(dim=1).flatten().tolist() == [0.0, -2.0]


def test_sequences() -> None:
    ragged_chunks_equal_the_whole(SRU())
    gradients_stay_finite(SRU())
