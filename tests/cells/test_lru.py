"""LRU: the closed form of a linear recurrence, the ring, the normalisation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from longlag.cells import Stack
from longlag.cells.lru import LRU, LRULayer, LRUOptions
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole


@pytest.mark.parametrize("mix", ["none", "gelu", "glu"])
def test_equals_its_convolution(mix: str) -> None:
    steps, inputs, hidden, size = 30, 3, 5, 4
    options = LRUOptions(state_size=size, mix=mix)
    stack = Stack(LRU(options), inputs, hidden, 1, torch.Generator().manual_seed(0)).double()
    p = {name.removeprefix("layers.0."): v.detach().numpy() for name, v in stack.named_parameters()}
    b = p["scan.weight_ih"][:size] + 1j * p["scan.weight_ih"][size:]
    c = p["c"][:, :size] + 1j * p["c"][:, size:]
    eigenvalues = np.exp(-np.exp(p["scan.nu"]) + 1j * np.exp(p["scan.theta"]))
    x = np.random.default_rng(0).normal(size=(steps, inputs))
    want = x @ p["d"].T
    for t in range(steps):
        for k in range(t + 1):
            power = eigenvalues ** (t - k) * np.exp(p["scan.gamma"])
            want[t] += (c @ (power * (b @ x[k]))).real
    wanted = torch.from_numpy(want)
    if mix != "none":
        wanted = F.gelu(wanted)
    if mix == "glu":
        out = stack.layers[0].mixing.out
        first, second = F.linear(wanted, out.weight, out.bias).chunk(2, -1)
        wanted = first * torch.sigmoid(second)
    got, _ = stack(torch.from_numpy(x).unsqueeze(1))
    torch.testing.assert_close(got[:, 0], wanted, rtol=1e-10, atol=1e-10)


def test_ring_initialisation() -> None:
    options = LRUOptions(r_min=0.8, r_max=0.95, max_phase=0.3)
    layer = LRU(options).layer(50, 4000, torch.Generator().manual_seed(0))
    assert isinstance(layer, LRULayer)
    units = layer.scan.weights().units
    values = torch.complex(units["lambda_re"], units["lambda_im"])
    assert 0.8 <= values.abs().min() < 0.801 and 0.949 < values.abs().max() <= 0.95
    assert 0 <= values.angle().min() < 0.001 and 0.299 < values.angle().max() <= 0.3
    # uniform on the ring: the squared radius is uniform
    mean = values.abs().square().mean().item()
    assert math.isclose(mean, (0.8**2 + 0.95**2) / 2, rel_tol=0.01)
    gamma = layer.scan.get_parameter("gamma").exp()
    torch.testing.assert_close(gamma.square() + values.abs().square(), torch.ones(4000))


def test_states_keep_the_variance_of_the_input() -> None:
    layer = LRU(LRUOptions(r_min=0.9, r_max=0.99, state_size=200)).layer(8, 4, torch.Generator().manual_seed(0))
    _, state = layer(torch.randn(1000, 40, 8, generator=torch.Generator().manual_seed(1)))
    power = (state["re"].square() + state["im"].square()).mean().item()
    assert math.isclose(power, 1, rel_tol=0.1)


def test_the_whole_circle_has_finite_parameters() -> None:
    layer = LRU(LRUOptions(state_size=5000)).layer(2, 4, torch.Generator().manual_seed(0))
    assert all(p.isfinite().all() for p in layer.parameters())


def test_impossible_ring() -> None:
    with pytest.raises(ValueError, match="r_min is below r_max"):
        LRUOptions(r_min=0.9, r_max=0.5)


def test_sequences() -> None:
    ragged_chunks_equal_the_whole(LRU())
    gradients_stay_finite(LRU(LRUOptions(r_min=0.99, r_max=0.999)))
    outputs_are_recorded(LRU())
