"""RWKV-6 against sums over all pairs of steps, RWKV-7 step by step, both as relatives, and their memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.delta import DeltaNet
from longlag.cells.linear_attention import GLA
from longlag.cells.parts import step_before, unit
from longlag.cells.rwkv6 import RWKV6, RWKV6Options
from longlag.cells.rwkv7 import RWKV7, RWKV7Options
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H, N = 7, 2, 6, 2
RANKS = {"rwkv6": {"decay_rank": 2, "mix_rank": 2}, "rwkv7": {"decay_rank": 2, "rate_rank": 2, "gate_rank": 2}}


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def layer_of(cell):
    """A layer whose parameters all count."""
    layer = cell.layer(H, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    for number, parameter in enumerate(layer.parameters()):
        parameter.data += 0.3 * draw(number + 1, *parameter.shape)[0]
    return layer


def groupnorm(layer, y):
    return F.group_norm(y.reshape(T * B, -1), N, layer.norm_weight, layer.norm_bias, 64e-5).unflatten(0, (T, B))


def heads(*parts):
    return [part.unflatten(-1, (N, -1)) for part in parts]


def test_rwkv6_equals_its_sums_over_all_pairs_of_steps():
    layer, u = layer_of(RWKV6(RWKV6Options(heads=N, **RANKS["rwkv6"]))), draw(T, B, H)
    before = torch.cat([torch.zeros(1, B, H), u[:-1]]).double()
    low = torch.tanh((u + layer.mix_all * (before - u)) @ layer.mix_down.mT).split(2, -1)
    *mixed, for_w = (
        u + (layer.mix_each[j] + low[j] @ layer.mix_up[j].mT) * (before - u) for j in range(5)
    )  # fmt: skip
    r, k, v, g = (a @ part.weight.mT for a, part in zip(mixed, layer.project, strict=True))
    log_w = -torch.exp(layer.decay + torch.tanh(for_w @ layer.decay_down.mT) @ layer.decay_up.mT)
    r, k, v, log_w = heads(r, k, v, log_w)
    total = log_w.cumsum(0)
    past = torch.ones(T, T).tril(-1).view(T, T, 1, 1, 1)  # what was written before t has decayed since
    kept = torch.exp((total - log_w)[:, None] - total) * past + torch.eye(T).view(T, T, 1, 1, 1) * layer.bonus.view(
        N, -1
    )
    y = torch.einsum("tbnk,sbnk,tsbnk,sbnv->tbnv", r, k, kept, v)
    want = (groupnorm(layer, y) * F.silu(g)) @ layer.out.weight.mT
    torch.testing.assert_close(layer(u)[0], want, rtol=1e-9, atol=1e-9)


def test_rwkv6_is_gated_linear_attention_that_reads_before_it_writes():
    r, k, v, w = draw(T, B, N, 3), draw(T, B, N, 3) + 1, draw(T, B, N, 4), torch.sigmoid(draw(T, B, N, 3) - 1)
    state = {"S": torch.zeros(B, N, 4, 3).double()}
    given = {"r": r, "w": w, "k": k, "v": v}
    read, _ = run_scan(RWKV6(), given, {"e": torch.zeros(N, 3).double()}, state, kernel="plain")
    gla, _ = run_scan(GLA(), {"q": r[1:], "k": k[:-1], "v": v[:-1], "w": w[:-1]}, {}, state, kernel="plain")
    torch.testing.assert_close(read["y"][1:], gla["y"])
    assert not read["y"][0].any()


def test_rwkv7_step_by_step():
    layer, u = layer_of(RWKV7(RWKV7Options(heads=N, **RANKS["rwkv7"]))), draw(T, B, H)
    before = torch.cat([torch.zeros(1, B, H), u[:-1]]).double()
    for_r, for_w, for_k, for_v, for_a, for_g = (u + mu * (before - u) for mu in layer.mix_each)
    low = layer.decay_low, layer.rate_low, layer.gate_low
    decay = layer.decay + torch.tanh(for_w @ low[0].down.mT) @ low[0].up.mT
    a = torch.sigmoid(layer.rate + for_a @ low[1].down.mT @ low[1].up.mT)
    g = torch.sigmoid(for_g @ low[2].down.mT) @ low[2].up.mT
    r, k, v = for_r @ layer.receptance.mT, for_k @ layer.key.mT, for_v @ layer.value.mT
    r, c, k, v, a, w = heads(r, k * layer.cleared, k * (1 + (a - 1) * layer.written), v, a,
                             torch.exp(-torch.exp(-F.softplus(-decay) - 0.5)))  # fmt: skip
    c = F.normalize(c, dim=-1, eps=1e-12)
    y, S = [], torch.zeros(B, N, 3, 3).double()
    for t in range(T):
        S = S @ (torch.diag_embed(w[t]) - c[t].unsqueeze(-1) * (a[t] * c[t]).unsqueeze(-2))
        S = S + v[t].unsqueeze(-1) * k[t].unsqueeze(-2)
        y.append((S @ r[t].unsqueeze(-1)).squeeze(-1))
    now = (r * layer.bonus.view(N, -1) * k).sum(-1, keepdim=True) * v
    want = ((groupnorm(layer, torch.stack(y)) + now.flatten(-2)) * g) @ layer.out.weight.mT
    torch.testing.assert_close(layer(u)[0], want, rtol=1e-9, atol=1e-9)


def test_rwkv7_without_decay_whose_key_is_the_cleared_one_is_deltanet():
    q, k, v, beta = draw(T, B, N, 3), unit(draw(T, B, N, 3) + 1, 0), draw(T, B, N, 4), torch.sigmoid(draw(T, B, N))
    state, wide = {"S": draw(B, N, 4, 3)}, beta.unsqueeze(-1).expand(-1, -1, -1, 3)
    given = {"r": q, "w": torch.ones_like(k), "c": k, "a": wide, "k": wide * k, "v": v}
    delta = run_scan(DeltaNet(), {"q": q, "k": k, "v": v, "beta": beta}, {}, state, kernel="plain")
    torch.testing.assert_close(run_scan(RWKV7(), given, {}, state, kernel="plain"), delta)


@pytest.mark.parametrize("cell", [RWKV6(RWKV6Options(half_life=200)), RWKV7(RWKV7Options(half_life=200))])
def test_half_lives_at_first(cell):
    layer = cell.layer(8, 8, torch.Generator().manual_seed(0)).double()
    inputs = layer.mix(torch.ones(1, 1, 8).double(), torch.ones(1, 1, 8).double())
    lives = -math.log(2) / inputs["w"].log().flatten()
    torch.testing.assert_close(lives, torch.logspace(math.log10(200), math.log10(2), 8).double(), rtol=1e-4, atol=0)


def test_published_half_lives():
    for cell, longest, shortest in ((RWKV6(), 279.6, 1.88), (RWKV7(), 3400.0, 1.2)):
        layer = cell.layer(128, 128, torch.Generator().manual_seed(0)).double()
        inputs = layer.mix(*torch.zeros(2, 1, 1, 128).double())
        lives = -math.log(2) / inputs["w"].detach().log()
        assert float(lives.max()) == pytest.approx(longest, rel=0.02)
        assert float(lives.min()) == pytest.approx(shortest, rel=0.02)


def test_the_step_before_is_the_last_that_exists():
    x, last = torch.arange(1.0, 5.0).view(4, 1, 1), torch.zeros(1, 1)
    before, following = step_before(x, last, torch.tensor([[True], [False], [True], [True]]))
    assert before.flatten().tolist()[2:] == [1, 3] and following.tolist() == [[4]]


@pytest.mark.parametrize("name", RANKS)
def test_ragged_chunks(name):
    ragged_chunks_equal_the_whole(build(name, {"heads": 2, **RANKS[name]}))
    outputs_are_recorded(build(name, {"heads": 2, **RANKS[name]}))
    # what RWKV-6 writes at the last step is read at none
    gradients_stay_finite(build(name, {"heads": 1}), steps=300, unread=("S",) if name == "rwkv6" else ())
