"""Mamba-3 against sums over all pairs of steps in complex numbers, as Mamba-2, and its memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.mamba import Mamba2
from longlag.cells.mamba3 import Mamba3, Mamba3Options
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H, N = 9, 2, 6, 6


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def layer_of(options, hidden=H):
    layer = Mamba3(options).layer(hidden, hidden, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    return layer


@pytest.mark.parametrize("norm", [False, True])
def test_the_layer_equals_its_sums_over_all_pairs_of_steps(norm):
    """A value counts with its own step's part of the rule and the next one's; pairs of a key are complex numbers."""
    layer = layer_of(Mamba3Options(heads=2, state_size=N, rotation=2 / 3, norm=norm, dt_min=0.3, dt_max=0.9))
    u = draw(T, B, H)
    z, v, b, c, dt, rate, part, turn = (u @ layer.project.weight.mT).split([12, 12, N, N, 2, 2, 2, 2], -1)
    dt, part = (dt + layer.dt_bias).exp().log1p(), torch.sigmoid(part)
    log_a = (-(1 + rate.exp()).log() * dt).cumsum(0)
    normed = [x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() for x in (b, c)]
    k, q = (x.unsqueeze(2) + 1 for x in normed)
    angles = (math.pi * torch.tanh(turn).unsqueeze(2) * dt.unsqueeze(-1)).cumsum(0)
    wheel = torch.polar(torch.ones_like(angles), angles)
    turned_k, turned_q = (torch.view_as_complex(x[..., :4].unflatten(-1, (2, 2)).contiguous()) * wheel for x in (k, q))
    alike = torch.einsum("tbnm,sbnm->tsbn", turned_q, turned_k.conj()).real
    alike = alike + torch.einsum("tbnk,sbnk->tsbn", q[..., 4:], k[..., 4:])
    now, after = part * dt, torch.cat([(1 - part) * dt, torch.zeros(1, B, 2).double()])[1:]
    weight = now + after * torch.ones(T, T).tril(-1).view(T, T, 1, 1)
    kept = (log_a[:, None] - log_a).exp() * torch.ones(T, T).tril().view(T, T, 1, 1)
    v = v.unflatten(-1, (2, 6))
    y = torch.einsum("tsbn,sbnv->tbnv", alike * weight * kept, v) + v
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() if norm else y
    want = (y.flatten(-2) * F.silu(z)) @ layer.out.weight.mT
    torch.testing.assert_close(layer(u)[0], want, rtol=1e-9, atol=1e-9)


def test_with_the_rule_of_the_step_s_end_it_is_mamba_2():
    v, k, q, dt = draw(T, B, 2, 5), draw(T, B, 2, N), draw(T, B, 2, N) + 1, draw(T, B, 2).exp()
    a, S, D = torch.sigmoid(draw(T, B, 2) + 1), draw(B, 2, 5, N), draw(2)
    given = {"v": v, "k": k, "q": q, "a": a, "now": dt, "past": torch.zeros_like(dt)}
    before = {"v_before": draw(B, 2, 5), "k_before": draw(B, 2, N)}
    mine, final = run_scan(Mamba3(), given, {"D": D}, {"S": S, **before}, kernel="plain")
    other = run_scan(Mamba2(), {"v": v, "B": k, "C": q, "dt": dt, "a": a}, {"D": D}, {"S": S}, kernel="plain")
    torch.testing.assert_close((mine, {"S": final["S"]}), other)


def test_half_lives_at_first():
    layer = layer_of(Mamba3Options(heads=3, half_life=1000))
    lives = math.log(2) / (math.log(2) * F.softplus(layer.dt_bias))
    torch.testing.assert_close(lives, torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64), rtol=1e-3, atol=0)


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("mamba3", {"heads": 2, "state_size": N}))
    outputs_are_recorded(build("mamba3", {"heads": 2, "state_size": N}))
    # the last step's key and value wait for the next step
    unread = ("v_before", "k_before")
    gradients_stay_finite(build("mamba3", {"heads": 1, "state_size": N}), steps=300, unread=unread)
