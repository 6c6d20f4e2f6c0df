"""HiPPO-LegS: the recurrence with a linear solve at every step, in NumPy; what its memory makes of known functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from longlag.cells.base import GatedLayer
from longlag.cells.hippo import HiPPOLegS, HiPPOLegSOptions, legs_basis
from longlag.errors import UserError

I, H = 3, 5  # noqa: E741


def build(order: int | None = None) -> GatedLayer:
    layer = HiPPOLegS(HiPPOLegSOptions(order=order)).layer(I, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    return layer


def memory(layer: GatedLayer, state: dict[str, Tensor]) -> NDArray[np.float64]:
    """The Legendre coefficients of one sequence."""
    return (torch.cat([state["a"], state["b"]], -1)[0] @ layer.basis.T).detach().numpy()


@pytest.mark.parametrize("order", [None, 1, 8, 10])
def test_equals_the_equations(order: int | None) -> None:
    layer, size = build(order), order or H
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    q, one = np.sqrt(2 * np.arange(size) + 1), np.eye(size)
    matrix = np.tril(np.outer(q, q), -1) + np.diag(np.arange(size) + 1.0)
    x = np.random.default_rng(0).normal(size=(40, I))
    h, m, want = np.zeros(H), np.zeros(size), []
    for n, x_t in enumerate(x):
        u = p["store"] @ np.concatenate([x_t, h]) + p["store_bias"][0]
        half = matrix / (2 * n) if n else 0
        m = np.linalg.solve(one + half, (one - half) @ m + q * u / n) if n else one[0] * u
        z, g = np.split(p["weight_ih"] @ x_t + p["weight_hm"] @ m + p["bias"], 2)
        g = 1 / (1 + np.exp(-g))
        h = (1 - g) * h + g * np.tanh(z)
        want.append(h)
    got, final = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), want, atol=1e-6)  # the basis is kept in float32
    np.testing.assert_allclose(memory(layer, final), m, atol=1e-6)


def test_what_is_constant_is_its_own_first_coefficient_and_what_rises_has_two() -> None:
    """c for c, and t/2 (1, 1/sqrt(3), 0, 0 ...) for t, up to 1/t."""
    layer = build(8).requires_grad_(False)
    layer.store.zero_()
    layer.store[0] = 1
    x = torch.zeros(400, 1, I).double()
    x[:, 0, 0] = 3 - layer.store_bias
    _, final = layer(x)
    np.testing.assert_allclose(memory(layer, final), 3 * np.eye(8)[0], atol=1e-6)
    x[:, 0, 0] = torch.arange(400) / 200 - layer.store_bias
    _, final = layer(x)
    np.testing.assert_allclose(memory(layer, final), np.array([1, 3**-0.5, *[0] * 6]), atol=2e-2)


@pytest.mark.parametrize("order", [1, 2, 7, 64])
def test_the_basis_is_orthonormal_and_turns_pairs(order: int) -> None:
    pairs = order // 2 + 1
    basis, omega = legs_basis(order, pairs)
    torch.testing.assert_close(basis @ basis.T, torch.eye(order).double(), rtol=0, atol=1e-12)
    q = torch.sqrt(2 * torch.arange(order).double() + 1)
    matrix = torch.tril(torch.outer(q, q), -1) + torch.diag(torch.arange(order) + 1.0) - torch.outer(q, q) / 2
    turned = basis.T @ matrix @ basis
    want = torch.zeros(2 * pairs, 2 * pairs).double()
    want[:pairs, pairs:], want[pairs:, :pairs] = -torch.diag(omega), torch.diag(omega)
    want.diagonal().copy_((basis != 0).any(0) / 2)
    torch.testing.assert_close(turned, want, rtol=0, atol=1e-12 * order**2)


def test_initialisation_and_the_largest_order() -> None:
    size = 200
    layer = HiPPOLegS(HiPPOLegSOptions(order=100)).layer(I, size, torch.Generator().manual_seed(0))
    parts = layer.weight_hm.detach().view(2, -1).var(1) * torch.tensor([(I + 100 + size) / 2, I + 100])
    torch.testing.assert_close(parts, torch.ones(2), rtol=0.03, atol=0)
    assert 0.9 < float(layer.store.detach().abs().max()) * ((I + size) / 3) ** 0.5 <= 1
    with pytest.raises(UserError, match="order 11 of only 5 units: it is at most 10"):
        build(11)
