"""Linear attention, retention and gated linear attention against sums over the whole sequence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.cells.linear_attention import GLA, GLAOptions, LinearAttention, LinearAttentionOptions, RetNet
from longlag.cells.linear_attention import RetNetOptions as Retention
from longlag.cells.stack import build
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H = 12, 2, 6
EVERY = ("linear-attention", "retnet", "gla")


def layer_of(cell, inputs=H, hidden=H):
    return cell.layer(inputs, hidden, torch.Generator().manual_seed(0)).double()


def sequence(features=H):
    return torch.randn(T, B, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def heads(layer, u):
    return [p.unflatten(-1, (layer.heads, -1)) for p in (u @ layer.project.weight.mT).split(layer.widths, -1)]


def attention(q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the past of ``weight[t, s] (k_s . q_t) v_s``, and of the weights alone: no state, no recurrence."""
    scores = torch.einsum("tbnd,sbnd->tsbn", q, k) * weight * torch.ones(T, T).tril().view(T, T, 1, 1)
    return torch.einsum("tsbn,sbnd->tbnd", scores, v), scores.sum(1).unsqueeze(-1)


def finished(layer, y, u):
    y = y.flatten(-2)
    y = y if layer.gate is None else y * F.silu(u @ layer.gate.weight.mT)
    return y @ layer.out.weight.mT


def normed(layer, y):
    return y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.norm.weight


@pytest.mark.parametrize("feature", ["elu", "relu"])
def test_linear_attention_equals_its_quadratic_form(feature):
    layer = layer_of(LinearAttention(LinearAttentionOptions(heads=2, feature=feature)))
    u = sequence()
    q, k, v = heads(layer, u)
    phi = {"elu": lambda a: torch.where(a > 0, a + 1, a.exp()), "relu": lambda a: a.clamp(min=0)}[feature]
    y, total = attention(phi(q), phi(k), v, torch.ones(T, T, 1, 1))
    torch.testing.assert_close(layer(u)[0], finished(layer, y / (total + 1e-10), u), rtol=1e-9, atol=1e-9)


def test_linear_attention_without_normaliser_equals_its_quadratic_form():
    options = LinearAttentionOptions(heads=3, feature="identity", normaliser=False, gate=True)
    layer, u = layer_of(LinearAttention(options)), sequence()
    q, k, v = heads(layer, u)
    y, _ = attention(q, k, v, torch.ones(T, T, 1, 1))
    torch.testing.assert_close(layer(u)[0], finished(layer, normed(layer, y), u), rtol=1e-9, atol=1e-9)


def test_a_sum_that_may_be_zero_is_refused_as_a_divisor():
    with pytest.raises(ValueError, match="feature identity needs normaliser=false"):
        LinearAttentionOptions(feature="identity")


def test_retention_equals_its_quadratic_form():
    layer, u = layer_of(RetNet(Retention(heads=2))), sequence()
    q, k, v = heads(layer, u)
    size = q.shape[-1]
    t = torch.arange(T, dtype=torch.float64)
    gamma = torch.tensor([1 - 2.0**-5, 1 - 2.0**-6], dtype=torch.float64)
    decay = gamma ** (t.view(T, 1, 1, 1) - t.view(T, 1, 1)).clamp(min=0)
    # (R_s k_s) . (R_t q_t) by complex numbers: the real part of k_s conj(q_t) e^{i (s - t) rate}, pair by pair
    rates = 10000 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    turn = torch.polar(torch.ones_like(rates), rates) ** t.view(T, 1, 1, 1)
    q, k = (torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
            for x in (q, k))  # fmt: skip
    y, _ = attention(q / math.sqrt(size), k, v, decay)
    torch.testing.assert_close(layer(u)[0], finished(layer, normed(layer, y), u), rtol=1e-8, atol=1e-8)


def test_gated_linear_attention_equals_its_quadratic_form():
    layer, u = layer_of(GLA(GLAOptions(heads=2, gate_rank=3, half_life=30))), sequence()
    q, k, v = heads(layer, u)
    w = torch.sigmoid(u @ layer.narrow.weight.mT @ layer.widen.weight.mT + layer.widen.bias) ** (1 / 16)
    grown = w.log().cumsum(0).unflatten(-1, (2, -1))
    scores = torch.einsum("tbnd,sbnd,tsbnd->tsbn", q / math.sqrt(q.shape[-1]), k, (grown[:, None] - grown).exp())
    y = torch.einsum("tsbn,sbnd->tbnd", scores * torch.ones(T, T).tril().view(T, T, 1, 1), v)
    torch.testing.assert_close(layer(u)[0], finished(layer, normed(layer, y), u), rtol=1e-9, atol=1e-9)


def test_half_lives_are_those_of_the_paper_or_the_given_ones():
    lives = -math.log(2) / RetNet(Retention(heads=4)).decay().log()
    torch.testing.assert_close(lives, torch.tensor([21.8, 44.0, 88.4, 177.1], dtype=torch.float64), rtol=1e-2, atol=0)
    lives = -math.log(2) / RetNet(Retention(heads=3, half_life=1000)).decay().log()
    torch.testing.assert_close(lives, torch.tensor([250.0, 500.0, 1000.0], dtype=torch.float64))
    layer = layer_of(GLA(GLAOptions(heads=2, half_life=1000)), hidden=20)
    lives = -16 * math.log(2) / F.logsigmoid(layer.widen.bias.detach()).unflatten(0, (2, -1))
    assert torch.equal(lives[0], lives[1])
    torch.testing.assert_close(lives[0, [0, -1]], torch.tensor([16.0, 1000.0], dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(lives[0, 1:] / lives[0, :-1], (lives[0, 1] / lives[0, 0]).expand(4), rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", EVERY)
def test_ragged_chunks(name):
    ragged_chunks_equal_the_whole(build(name, {"heads": 2, "convolution": True}))
    outputs_are_recorded(build(name, {"heads": 2}))


@pytest.mark.parametrize("name", EVERY)
def test_gradients_stay_finite_over_a_long_sequence(name):
    gradients_stay_finite(build(name, {"heads": 1}), steps=500)
