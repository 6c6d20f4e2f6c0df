"""HGRN2 as gated linear attention with keys 1 - f, and its memory at first."""

from __future__ import annotations

import math

import torch

from longlag.cells.hgrn2 import HGRN2, HGRN2Options
from longlag.cells.linear_attention import GLA
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, N, V, K = 9, 2, 3, 4, 5


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_it_is_gated_linear_attention_with_keys_of_what_is_let_go():
    q, v, f = draw(T, B, N, K), draw(T, B, N, V), torch.sigmoid(draw(T, B, N, K) - 1)
    state = {"S": draw(B, N, V, K)}
    mine = run_scan(HGRN2(), {"q": q, "v": v, "f": f}, {}, state, kernel="plain")
    gla = run_scan(GLA(), {"q": q, "k": 1 - f, "v": v, "w": f}, {}, state, kernel="plain")
    torch.testing.assert_close(mine, gla)


def test_the_layer_equals_its_sums_over_all_pairs_of_steps():
    options = HGRN2Options(heads=2, lower_bound=0.25, half_life=30)
    layer = HGRN2(options).layer(6, 6, torch.Generator().manual_seed(0)).double()
    u = draw(T, B, 6)
    q, f, v = (part.unflatten(-1, (2, 3)) for part in (u @ layer.project.weight.mT).split([6, 6, 6], -1))
    f = 0.25 + 0.75 / (1 + torch.exp(-f - layer.bias))
    total = f.log().cumsum(0)
    q = q / (1 + torch.exp(-q)) / math.sqrt(3)
    scores = torch.einsum("tbnk,sbnk,tsbnk->tsbn", q, 1 - f, (total[:, None] - total).exp())
    y = torch.einsum("tsbn,sbnv->tbnv", scores * torch.ones(T, T).tril().view(T, T, 1, 1), v).flatten(-2)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()  # one norm for both heads
    torch.testing.assert_close(layer(u)[0], y @ layer.out.weight.mT, rtol=1e-9, atol=1e-9)


def test_half_lives_at_first():
    layer = HGRN2(HGRN2Options(heads=2, half_life=100)).layer(10, 10, torch.Generator().manual_seed(0)).double()
    f = layer.core_inputs(*torch.zeros(4, 1, 1, 2, 5, dtype=torch.float64))["f"][0, 0]
    lives = -math.log(2) / f.log()
    torch.testing.assert_close(lives[1], torch.logspace(0, 2, 5, dtype=torch.float64), rtol=1e-5, atol=0)
    assert torch.equal(lives[0], lives[1])


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("hgrn2", {"heads": 2, "convolution": True}))
    outputs_are_recorded(build("hgrn2", {"heads": 2}))
    gradients_stay_finite(build("hgrn2", {"heads": 1}), steps=300)
