"""The mLSTM against its quadratic form without a stabiliser, far gates, and its memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.mlstm import MLSTM, MLSTMOptions
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import convolved, gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H = 9, 2, 6


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def attention(q, k, v, i, f):
    """sum over s <= t of sigmoid(f_{s+1}) ... sigmoid(f_t) exp(i_s) (k_s . q_t) v_s, over its weights or 1."""
    total = torch.sigmoid(f).log().cumsum(0)
    weight = (total[:, None] - total + i).exp() * torch.ones(T, T).tril().view(T, T, 1, 1)
    scores = torch.einsum("tbnd,sbnd->tsbn", q, k) * weight
    return torch.einsum("tsbn,sbnd->tbnd", scores, v) / (scores.sum(1).abs().clamp(min=1).unsqueeze(-1))


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_layer_equals_its_sums_over_all_pairs_of_steps(cap):
    layer = MLSTM(MLSTMOptions(heads=2, gate_cap=cap)).layer(H, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    for number, parameter in enumerate(layer.parameters()):  # gates that read their input, keys of some length
        parameter.data += 0.3 * draw(number + 1, *parameter.shape)[0]
    u = draw(T, B, H)
    x, z = (u @ layer.up.mT).split(16, -1)
    c = convolved(layer.convolution, x)
    q, k, v = (torch.block_diag(*blocks) @ a.unsqueeze(-1) for blocks, a in zip(layer.blocks, (c, c, x), strict=True))
    q, k, v = q.squeeze(-1), k.squeeze(-1), v.squeeze(-1)
    gates = torch.cat([q, k, v], -1) @ layer.gate_weights.mT + layer.gate_biases
    i, f = (gates if cap is None else cap * torch.tanh(gates / cap)).split(2, -1)
    q, k, v = (part.unflatten(-1, (2, 8)) for part in (q, k / math.sqrt(8), v))
    y = attention(q, k, v, i, f)
    centred = y - y.mean(-1, keepdim=True)
    y = (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(-2) * layer.norm_weight
    want = ((y + layer.skip * c) * F.silu(z)) @ layer.down.mT
    torch.testing.assert_close(layer(u)[0], want, rtol=1e-4, atol=1e-4)  # the 1e-6 beside the stabilised sum


def test_gates_whose_exponentials_are_not_finite():
    """exp(800) is not finite in double precision: only differences are taken, of which the greatest is 0."""
    q, k, v = draw(T, B, 1, 3), draw(T, B, 1, 3), draw(T, B, 1, 3)
    i, f = 3 * draw(T, B, 1), draw(T, B, 1)
    empty = {"S": q.new_zeros(B, 1, 3, 3), "n": q.new_zeros(B, 1, 3), "m": q.new_zeros(B, 1)}
    for far in (800.0, -800.0):
        given = {"q": q, "k": k, "v": v, "i": i + far, "f": f}
        got = run_scan(MLSTM(), given, {}, empty, kernel="plain")[0]["y"]
        assert got.isfinite().all()
    near = {"q": q, "k": k, "v": v, "i": i + 8, "f": f}
    torch.testing.assert_close(run_scan(MLSTM(), near, {}, empty, kernel="plain")[0]["y"],
                               attention(q, k, v, i + 8, f), rtol=1e-4, atol=1e-4)  # fmt: skip


def test_half_lives_at_first():
    for options, want in (({"half_life": 1000.0}, [10.0, 100.0, 1000.0]), ({}, [14.26, 62.7, 279.98])):
        layer = MLSTM(MLSTMOptions(heads=3, **options)).layer(H, H, torch.Generator().manual_seed(0))
        f = layer.core_inputs(*torch.ones(2, 1, 1, 12))["f"].double().flatten()
        lives = -math.log(2) / torch.sigmoid(f).log()
        torch.testing.assert_close(lives, torch.tensor(want, dtype=torch.float64), rtol=1e-3, atol=0)


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("mlstm", {"heads": 2}))
    outputs_are_recorded(build("mlstm", {"heads": 2}))
    # at first keys are short, so the sum of weights is below 1 and 1 takes its place
    gradients_stay_finite(build("mlstm", {"heads": 1}), steps=300, unread=("n", "m"))
