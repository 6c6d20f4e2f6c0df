"""Longhorn against the regression that its step solves, step by step, and its memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.longhorn import Longhorn, LonghornOptions
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import convolved, gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H, N = 7, 2, 4, 3


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_a_step_solves_the_regression_where_a_channel_has_one_state():
    v, k, beta, s = draw(1, B, 1, 5), draw(1, B, 1, 1), torch.sigmoid(draw(1, B, 1, 5) + 1), draw(B, 1, 5, 1)
    given = {"v": v, "beta": beta, "k": k, "q": k}
    _, final = run_scan(Longhorn(), given, {"D": torch.ones(1, 5).double()}, {"s": s}, kernel="plain")
    found = final["s"].clone().requires_grad_()
    key = k[0].unsqueeze(2)
    loss = (found - s).square() + beta[0].unsqueeze(-1) * (found * key - v[0].unsqueeze(-1)).square()
    loss.sum().backward()
    torch.testing.assert_close(found.grad, torch.zeros_like(found))


def test_a_step_never_overshoots():
    """However long a key is, what is kept of a state is between 0 and 1."""
    k = 1e3 * draw(1, B, 1, N)
    given = {"v": torch.zeros(1, B, 1, 5).double(), "beta": torch.full((1, B, 1, 5), 0.999).double(), "k": k, "q": k}
    state = {"s": torch.ones(B, 1, 5, N).double()}
    _, final = run_scan(Longhorn(), given, {"D": torch.ones(1, 5).double()}, state, kernel="plain")
    assert final["s"].min() >= 0 and final["s"].max() <= 1


def test_the_layer_step_by_step():
    layer = Longhorn(LonghornOptions(state_size=N)).layer(H, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    u = draw(T, B, H)
    inner, z = (u @ layer.project.weight.mT).split(8, -1)
    v = convolved(layer.convolution, inner)
    r, k, q = (v @ layer.select.weight.mT).split([1, N, N], -1)
    beta = torch.sigmoid(r @ layer.to_beta.weight.mT + layer.to_beta.bias)
    s, y = torch.zeros(B, 8, N).double(), []
    for t in range(T):
        d = (beta[t] / (1 + beta[t] * k[t].square().sum(-1, keepdim=True))).unsqueeze(-1)
        key = k[t].unsqueeze(1)
        s = s - d * key.square() * s + d * v[t].unsqueeze(-1) * key
        y.append((s * q[t].unsqueeze(1)).sum(-1) + layer.d * v[t])
    want = (torch.stack(y) * F.silu(z)) @ layer.out.weight.mT
    torch.testing.assert_close(layer(u)[0], want, rtol=1e-9, atol=1e-9)


def test_half_lives_at_first():
    layer = Longhorn(LonghornOptions(state_size=N, half_life=600)).layer(4, 4, torch.Generator().manual_seed(0))
    beta = torch.sigmoid(layer.to_beta.bias.double())
    lives = -math.log(2) / torch.log(1 - beta / (1 + beta) / N)
    torch.testing.assert_close(lives, torch.logspace(math.log10(6), math.log10(600), 8).double(), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="half_life is at least 2 state_size = 6 steps, got 5"):
        LonghornOptions(state_size=N, half_life=5)


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("longhorn", {}))
    outputs_are_recorded(build("longhorn", {}))
    gradients_stay_finite(build("longhorn", {}), steps=300)
