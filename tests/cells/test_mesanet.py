"""MesaNet against weighed least squares over all that was written, as linear attention, and its memory at first."""

from __future__ import annotations

import math

import torch

from longlag import kernels
from longlag.cells.linear_attention import GLA
from longlag.cells.mesanet import MesaNet, MesaNetOptions
from longlag.cells.parts import unit
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, N, V, K = 7, 2, 2, 4, 3


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def run(ridge, beta, g):
    q, k, v = unit(draw(T, B, N, K)), unit(draw(T, B, N, K) + 1), draw(T, B, N, V)
    empty = {"G": torch.zeros(B, N, V, K).double(), "K": torch.zeros(B, N, K, K).double()}
    given = {"q": q, "k": k, "j": k, "v": v, "beta": beta, "g": g}
    outputs, _ = run_scan(MesaNet(), given, {"r": torch.diag_embed(ridge)}, empty, kernel="plain")
    return outputs["y"], q, k, v


def test_what_is_read_is_the_best_map_of_keys_to_values():
    ridge, beta, g = draw(N, K).exp(), torch.sigmoid(draw(T, B, N)), torch.sigmoid(draw(T, B, N) + 1)
    y, q, k, v = run(ridge, beta, g)
    for b in range(B):
        for n in range(N):
            for t in range(T):
                kept = torch.stack([g[s + 1 : t + 1, b, n].prod() for s in range(t + 1)])
                weight = (kept * beta[: t + 1, b, n]).sqrt().unsqueeze(-1)
                keys = torch.cat([weight * k[: t + 1, b, n], torch.diag(ridge[n].sqrt())])
                values = torch.cat([weight * v[: t + 1, b, n], torch.zeros(K, V).double()])
                best = torch.linalg.lstsq(keys, values).solution
                torch.testing.assert_close(y[t, b, n], q[t, b, n] @ best)


def test_under_a_great_ridge_it_is_gated_linear_attention():
    beta, g, great = torch.sigmoid(draw(T, B, N)), torch.sigmoid(draw(T, B, N) + 1), 1e9
    y, q, k, v = run(torch.full((N, K), great).double(), beta, g)
    given = {"q": q, "k": beta.unsqueeze(-1) * k, "v": v, "w": g.unsqueeze(-1).expand(-1, -1, -1, K)}
    gla, _ = run_scan(GLA(), given, {}, {"S": torch.zeros(B, N, V, K).double()}, kernel="plain")
    torch.testing.assert_close(great * y, gla["y"], rtol=1e-7, atol=1e-7)


def test_half_lives_and_ridge_at_first():
    options = MesaNetOptions(heads=3, half_life=1000)
    layer = MesaNet(options).layer(6, 6, torch.Generator().manual_seed(0)).double()
    found = layer.core_inputs(torch.zeros(1, 1, 6).double(), *draw(3, 1, 1, 3, 2))
    lives = -math.log(2) / found["g"].log().flatten()
    torch.testing.assert_close(lives, torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(layer.core_parameters()["r"], torch.eye(2).double().expand(3, 2, 2), rtol=1e-6, atol=0)


def test_it_runs_on_the_plain_loop_and_says_why():
    reason = kernels.refusal(MesaNet())
    assert reason is not None and "it has 3 axes, and one or two can be compiled" in reason


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("mesanet", {"heads": 2}))
    outputs_are_recorded(build("mesanet", {"heads": 2}))
    gradients_stay_finite(build("mesanet", {"heads": 1}), steps=100)
