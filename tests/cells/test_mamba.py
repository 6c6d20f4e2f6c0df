"""Mamba-2 against sums over all pairs of steps, as gated linear attention, and its memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.linear_attention import GLA
from longlag.cells.mamba import Mamba2, Mamba2Options
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import convolved, gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H, N = 9, 2, 6, 3


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def layer_of(cell, hidden=H):
    layer = cell.layer(hidden, hidden, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    return layer


@pytest.mark.parametrize("negative", [False, True])
def test_the_layer_equals_its_sums_over_all_pairs_of_steps(negative):
    layer = layer_of(Mamba2(Mamba2Options(heads=2, state_size=N, negative_eigenvalues=negative)))
    u = draw(T, B, H)
    z, mixed, dt = (u @ layer.project.weight.mT).split([12, 12 + 2 * N, 2], -1)
    v, b, c = convolved(layer.convolution, mixed).split([12, N, N], -1)
    dt = (dt + layer.dt_bias).exp().log1p()
    a = (-layer.log_rate.exp() * dt).exp()
    a = 2 * a - 1 if negative else a
    kept = torch.stack([torch.stack([a[s + 1 : t + 1].prod(0) if s <= t else 0 * a[0] for s in range(T)])
                        for t in range(T)])  # fmt: skip
    scores = torch.einsum("tbm,sbm,tsbn,sbn->tsbn", c, b, kept, dt)
    v = v.unflatten(-1, (2, 6))
    y = (torch.einsum("tsbn,sbnv->tbnv", scores, v) + layer.d[:, None] * v).flatten(-2) * F.silu(z)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(u)[0], y @ layer.out.weight.mT, rtol=1e-9, atol=1e-9)


def test_with_dt_in_its_values_it_is_gated_linear_attention():
    v, b, c, dt, a = draw(T, B, 2, 5), draw(T, B, 2, N), draw(T, B, 2, N) + 1, draw(T, B, 2).exp(), draw(T, B, 2)
    a, state = torch.sigmoid(a), {"S": draw(B, 2, 5, N)}
    inputs = {"v": v, "B": b, "C": c, "dt": dt, "a": a}
    mine = run_scan(Mamba2(), inputs, {"D": torch.zeros(2).double()}, state, kernel="plain")
    wide = a.unsqueeze(-1).expand(-1, -1, -1, N)
    gla = run_scan(GLA(), {"q": c, "k": b, "v": dt.unsqueeze(-1) * v, "w": wide}, {}, state, kernel="plain")
    torch.testing.assert_close(mine, gla)


@pytest.mark.parametrize("negative", [False, True])
def test_half_lives_at_first(negative):
    layer = layer_of(Mamba2(Mamba2Options(heads=3, half_life=1000, negative_eigenvalues=negative)))
    a = torch.exp(-layer.log_rate.exp() * F.softplus(layer.dt_bias))
    lives = -math.log(2) / (2 * a - 1 if negative else a).log()
    want = torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64)
    torch.testing.assert_close(lives, want, rtol=1e-3, atol=0)


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("mamba2", {"heads": 2, "state_size": N}))
    outputs_are_recorded(build("mamba2", {"heads": 2, "state_size": N}))
    gradients_stay_finite(build("mamba2", {"heads": 1, "state_size": N}), steps=300)
