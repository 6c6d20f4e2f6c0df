"""Elman networks: leaky units in closed form, and the papers' initialisations."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from longlag.cells.elman import IRNN, NPRNN, RNN, RNNOptions
from longlag.cells.orthogonal import ExpRNN


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_leaky_units_charge_like_a_capacitor() -> None:
    layer = RNN(RNNOptions(activation="linear", leak=0.2)).layer(1, 3, seeded()).double()
    layer.weight_hh.data.zero_()
    layer.bias.data.zero_()
    outputs, _ = layer(torch.ones(40, 2, 1, dtype=torch.float64))
    charged = 1 - 0.8 ** torch.arange(1, 41, dtype=torch.float64)
    want = charged[:, None, None] * layer.weight_ih[:, 0]
    torch.testing.assert_close(outputs, want.expand_as(outputs))


def test_linear_network_is_a_power_of_its_matrix() -> None:
    layer = RNN(RNNOptions(activation="linear")).layer(2, 4, seeded()).double()
    layer.bias.data.zero_()
    start = torch.randn(3, 4, generator=seeded()).double()
    _, final = layer(torch.zeros(6, 3, 2).double(), {"h": start})
    torch.testing.assert_close(final["h"], start @ torch.linalg.matrix_power(layer.weight_hh, 6).mT)


def test_modrelu_is_exprnn_with_a_free_matrix() -> None:
    free = RNN(RNNOptions(activation="modrelu", init="orthogonal")).layer(2, 6, seeded()).double()
    bound = ExpRNN().layer(2, 6, seeded(1)).double()
    matrix = free.weight_hh.detach()
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(6).double(), rtol=0, atol=1e-6)
    assert set(dict(free.named_parameters())) == {"weight_ih", "weight_hh", "offset"}
    composed = bound.weights().weight_hh[0]
    for name, value in (("weight_ih", bound.weight_ih), ("weight_hh", composed), ("offset", bound.offset)):
        getattr(free, name).data.copy_(value.data)
    x = torch.randn(7, 3, 2, generator=seeded(2)).double()
    torch.testing.assert_close(free(x)[0], bound(x)[0])
    assert (free(x)[0] != 0).any()


def test_smart_tanh() -> None:
    layer = RNN(RNNOptions(init="sparse")).layer(200, 50, seeded())
    assert ((layer.weight_hh != 0).sum(1) == 15).all()
    assert float(torch.linalg.eigvals(layer.weight_hh.data).abs().max()) == pytest.approx(0.95, abs=1e-4)
    assert float(layer.weight_ih.data.std()) == pytest.approx(0.01, rel=0.05)
    assert not layer.bias.any()
    small = RNN(RNNOptions(init="sparse")).layer(2, 4, seeded())
    assert ((small.weight_hh != 0).sum(1) == 4).all()


def test_glorot_normal_and_orthogonal() -> None:
    glorot = RNN(RNNOptions(init="glorot")).layer(30, 90, seeded())
    for matrix, bound in ((glorot.weight_ih.data, (6 / 120) ** 0.5), (glorot.weight_hh.data, (6 / 180) ** 0.5)):
        assert 0.98 * bound < float(matrix.abs().max()) <= bound
        assert float(matrix.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    normal = RNN(RNNOptions(init="normal", std=0.01)).layer(30, 90, seeded())
    assert float(normal.weight_hh.data.std()) == pytest.approx(0.01, rel=0.05)
    matrix = RNN(RNNOptions(init="orthogonal")).layer(3, 20, seeded()).weight_hh.data
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(20), rtol=0, atol=1e-5)
    assert not glorot.bias.any() and not normal.bias.any()


def test_np_rnn_keeps_one_direction_and_lets_the_others_fade() -> None:
    matrix = NPRNN().layer(3, 40, seeded()).weight_hh.data
    torch.testing.assert_close(matrix, matrix.mT)
    values = torch.linalg.eigvalsh(matrix)
    assert float(values[-1]) == pytest.approx(1, abs=1e-5)
    assert float(values[0]) > 0 and float(values[-2]) < 0.999


def test_irnn_keeps_what_it_has() -> None:
    layer = IRNN().layer(300, 100, seeded())
    assert torch.equal(layer.weight_hh, torch.eye(100)) and not layer.bias.any()
    assert float(layer.weight_ih.data.std()) == pytest.approx(0.001, rel=0.05)
    start = torch.rand(2, 100)
    assert torch.equal(layer(torch.zeros(50, 2, 300), {"h": start})[1]["h"], start)


def test_an_option_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="std has no effect unless init is 'normal'"):
        RNNOptions(init="glorot", std=0.2)
    with pytest.raises(ValidationError, match="greater than 0"):
        RNNOptions(leak=0)
