"""The clockwork RNN: step by step with remainders, as an Elman network, and what its clocks keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longlag.cells.base import GatedLayer
from longlag.cells.clockwork import ClockworkOptions, ClockworkRNN
from longlag.cells.elman import RNN

I = 3  # noqa: E741


def build(hidden: int, options: ClockworkOptions) -> GatedLayer:
    layer = ClockworkRNN(options).layer(I, hidden, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    return layer


@pytest.mark.parametrize(
    ("options", "sizes", "periods"),
    [
        (ClockworkOptions(groups=3), (3, 2, 2), (1, 2, 4)),
        (ClockworkOptions(groups=3, period_max=9), (3, 2, 2), (1, 3, 9)),
        (ClockworkOptions(), (1,) * 7, (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_equals_a_masked_network_with_clocks(
    options: ClockworkOptions, sizes: tuple[int, ...], periods: tuple[int, ...]
) -> None:
    hidden = sum(sizes)
    layer = build(hidden, options)
    period = np.repeat(periods, sizes)
    matrix = np.zeros((hidden, hidden))
    matrix[period[:, None] <= period] = layer.recurrent.detach().numpy()
    w, b = layer.weight_ih.detach().numpy(), layer.bias.detach().numpy()
    x = np.random.default_rng(0).normal(size=(20, I))
    h, want = np.zeros(hidden), []
    for t, x_t in enumerate(x):
        h = np.where(t % period == 0, np.tanh(w @ x_t + matrix @ h + b), h)
        want.append(h)
    got, _ = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), want, rtol=1e-12)


def test_one_group_is_an_elman_network() -> None:
    layer, plain = build(4, ClockworkOptions(groups=1)), RNN().layer(I, 4).double()
    plain.kernel = "plain"
    with torch.no_grad():
        plain.weight_ih.copy_(layer.weight_ih)
        plain.weight_hh.copy_(layer.recurrent.view(4, 4))
        plain.bias.copy_(layer.bias)
    x = torch.randn(9, 2, I, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(layer(x)[0], plain(x)[0], rtol=1e-12, atol=0)


def test_a_waiting_unit_hands_on_its_gradient_whole() -> None:
    layer = build(4, ClockworkOptions(groups=2, period_max=50))
    x = torch.randn(50, 1, I, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    outputs, final = layer(x)
    assert final["wait"].tolist() == [[0, 0, 0, 0]]
    outputs[-1, 0, 2:].sum().backward()
    reached = x.grad.abs().sum((1, 2))
    slope = 1 - outputs[0, 0, 2:].detach() ** 2
    torch.testing.assert_close(x.grad[0, 0], slope @ layer.weight_ih[2:].detach())
    assert not reached[1:].any()
