"""Gradient norms through time against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlag.cells import StateGradients, layer
from longlag.probes import curves

T, B, H = 40, 3, 6


def measured(stack, x: torch.Tensor, g: torch.Tensor, lengths: np.ndarray | None = None):
    """The curves of L = mean_b g . h_{T, b}."""
    records = [StateGradients() for _ in stack.layers]
    mask = None if lengths is None else torch.arange(len(x))[:, None] < torch.from_numpy(lengths)
    outputs, _ = stack(x, None, mask, records)
    (outputs[-1] @ g).mean().backward()
    named = {f"layer{k}": record for k, record in enumerate(records, start=1)}
    return curves(named, None if lengths is None else dict.fromkeys(named, lengths))


def linear(scale: float):
    stack = layer("rnn", 2, H, activation="linear").double()
    torch.manual_seed(1)
    stack.layers[0].weight_hh.data.copy_(torch.randn(H, H, dtype=torch.float64) * scale / math.sqrt(H))
    return stack


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_linear_network_has_the_powers_of_its_matrix(scale: float) -> None:
    stack = linear(scale)
    g = torch.randn(H, dtype=torch.float64)
    (curve,) = measured(stack, torch.randn(T, B, 2, dtype=torch.float64), g)
    transposed = stack.layers[0].weight_hh.detach().numpy().T
    expected = [np.linalg.norm(np.linalg.matrix_power(transposed, k) @ g.numpy()) for k in range(T)]
    np.testing.assert_allclose(curve.by_lag, expected, rtol=1e-10)
    np.testing.assert_allclose(curve.norms, expected[::-1], rtol=1e-10)
    assert curve.log10_ratio == pytest.approx(math.log10(expected[-1] / expected[0]))
    assert curve.horizon == max(k for k in range(T) if expected[k] >= 0.01 * expected[0])


def test_orthogonal_network_is_flat() -> None:
    stack = linear(1.0)
    torch.nn.init.orthogonal_(stack.layers[0].weight_hh)
    (curve,) = measured(stack, torch.randn(T, B, 2, dtype=torch.float64), torch.ones(H, dtype=torch.float64))
    np.testing.assert_allclose(curve.norms, math.sqrt(H), rtol=1e-10)
    assert curve.horizon == T - 1
    assert curve.log10_ratio == pytest.approx(0, abs=1e-9)


def test_two_layers_below_each_other() -> None:
    """h1 feeds h2: dL/dh1_t = sum over paths; with U2 = 0 only the path through the last step is left."""
    stack = layer("rnn", 2, H, 2, activation="linear").double()
    low, high = stack.layers
    torch.manual_seed(2)
    for parameter in (low.weight_hh, high.weight_ih):
        parameter.data.copy_(torch.randn(H, H, dtype=torch.float64) / math.sqrt(H))
    high.weight_hh.data.zero_()
    g = torch.randn(H, dtype=torch.float64)
    first, second = measured(stack, torch.randn(T, B, 2, dtype=torch.float64), g)
    into = high.weight_ih.detach().numpy().T @ g.numpy()
    powers = [np.linalg.norm(np.linalg.matrix_power(low.weight_hh.detach().numpy().T, k) @ into) for k in range(T)]
    np.testing.assert_allclose(first.by_lag, powers, rtol=1e-10)
    assert second.by_lag[0] == pytest.approx(float(g.norm()))
    assert np.all(second.by_lag[1:] == 0) and second.horizon == 0 and second.log10_ratio == -math.inf


def test_lengths_align_at_each_examples_last_step() -> None:
    stack = linear(0.9)
    g = torch.randn(H, dtype=torch.float64)
    x = torch.randn(T, B, 2, dtype=torch.float64)
    lengths = np.array([T - 5, T - 20, T - 11])
    (curve,) = measured(stack, x, g, lengths)
    transposed = stack.layers[0].weight_hh.detach().numpy().T
    expected = [np.linalg.norm(np.linalg.matrix_power(transposed, k) @ g.numpy()) for k in range(lengths.max())]
    np.testing.assert_allclose(curve.by_lag, expected, rtol=1e-10)
    assert len(curve.norms) == lengths.max()


def test_carousel_of_an_open_lstm_is_flat() -> None:
    """With f = 1 and no path through the gates, dL/dc does not decay."""
    stack = layer("lstm", 2, H).double()
    lstm = stack.layers[0]
    lstm.weight_hh.data.zero_()
    lstm.bias.data[H : 2 * H] = 1000.0
    curve = next(c for c in measured(stack, torch.randn(T, B, 2).double(), torch.ones(H).double()) if c.state == "c")
    np.testing.assert_allclose(curve.norms, curve.norms[-1], rtol=1e-12)
    assert curve.norms[-1] > 0


def test_gradient_that_vanishes_entirely() -> None:
    stack = linear(1.0)
    stack.layers[0].weight_hh.data.zero_()
    (curve,) = measured(stack, torch.randn(T, B, 2, dtype=torch.float64), torch.zeros(H, dtype=torch.float64))
    assert curve.horizon == 0 and math.isnan(curve.log10_ratio)
