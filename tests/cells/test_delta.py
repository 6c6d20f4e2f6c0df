"""The delta rule: what it must return exactly, and its relatives as special cases of each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from longlag.cells.convolution import ShortConvolution
from longlag.cells.delta import (
    DeltaNet,
    DeltaOptions,
    DeltaProduct,
    DeltaProductOptions,
    GatedDeltaNet,
    GatedDeltaOptions,
)
from longlag.cells.linear_attention import LinearAttention, LinearAttentionOptions
from longlag.cells.parts import unit
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, N, V, K = 9, 2, 3, 4, 5


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def inputs(beta: Tensor, **more: Tensor) -> dict[str, Tensor]:
    return {"q": draw(T, B, N, K), "k": unit(draw(T, B, N, K + 0), 0), "v": draw(T, B, N, V), "beta": beta, **more}


def run(cell, given):
    return run_scan(cell, given, {}, {"S": draw(B, N, V, K)}, kernel="plain")


def test_a_written_value_is_read_back_exactly():
    """beta = 1: whatever S held, S k = v afterwards."""
    given = inputs(torch.ones(T, B, N, dtype=torch.float64))
    outputs, _ = run(DeltaNet(), {**given, "q": given["k"]})
    torch.testing.assert_close(outputs["y"], given["v"])


def test_a_step_is_a_product_of_matrices():
    """S_t = alpha S_{t-1} (1 - beta k k') + beta v k', example by example, head by head."""
    beta, alpha = torch.sigmoid(draw(T, B, N)), torch.sigmoid(draw(T, B, N, 1)).squeeze(-1)
    given = inputs(beta, alpha=alpha)
    outputs, final = run(GatedDeltaNet(), given)
    for b in range(B):
        for n in range(N):
            S = draw(B, N, V, K)[b, n]
            for t in range(T):
                k, v, q = (given[name][t, b, n] for name in ("k", "v", "q"))
                turn = torch.eye(K, dtype=torch.float64) - beta[t, b, n] * torch.outer(k, k)
                S = alpha[t, b, n] * S @ turn + beta[t, b, n] * torch.outer(v, k)
                torch.testing.assert_close(outputs["y"][t, b, n], S @ q)
            torch.testing.assert_close(final["S"][b, n], S)


def test_without_forgetting_the_gated_one_is_deltanet():
    beta = torch.sigmoid(draw(T, B, N))
    plain = run(DeltaNet(), inputs(beta))
    gated = run(GatedDeltaNet(), inputs(beta, alpha=torch.ones_like(beta)))
    torch.testing.assert_close(gated, plain)


def test_under_orthogonal_keys_deltanet_is_linear_attention():
    """Nothing is overwritten where no key comes twice and the matrix is empty at first."""
    keys = torch.linalg.qr(draw(K, K))[0]
    given = inputs(torch.ones(T, B, N, dtype=torch.float64))
    given = {name: value[:K] for name, value in given.items()} | {"k": keys.view(K, 1, 1, K).expand(K, B, N, K)}
    empty = {"S": torch.zeros(B, N, V, K, dtype=torch.float64)}
    delta = run_scan(DeltaNet(), given, {}, empty, kernel="plain")
    other = LinearAttention(LinearAttentionOptions(feature="identity", normaliser=False))
    torch.testing.assert_close(delta, run_scan(other, given, {}, empty, kernel="plain"))


def test_deltaproduct_of_one_key_a_step_is_gated_deltanet():
    gated = GatedDeltaNet(GatedDeltaOptions(negative_eigenvalues=True)).layer(8, 8, torch.Generator().manual_seed(0))
    one = DeltaProduct(DeltaProductOptions(householders=1)).layer(8, 8, torch.Generator().manual_seed(0))
    x = draw(T, B, 8).float()
    assert torch.equal(one(x)[0], gated(x)[0])


def test_deltaproduct_is_gated_deltanet_over_as_many_steps_as_keys():
    """Only the first of a step's keys forgets, only what follows the last one is read."""
    m, beta, alpha = 3, 2 * torch.sigmoid(draw(3 * T, B, N)), torch.sigmoid(draw(T, B, N, 1)).squeeze(-1)
    k, v, q = unit(draw(m * T, B, N, K), 0), draw(m * T, B, N, V), draw(T, B, N, K)
    given = {"q": q, "alpha": alpha}
    for j in range(m):
        given |= {f"k{j}": k[j::m], f"v{j}": v[j::m], f"beta{j}": beta[j::m]}
    got = run(DeltaProduct(DeltaProductOptions(householders=m)), given)
    keep = torch.ones_like(beta)
    keep[::m] = alpha
    long = {"q": q.repeat_interleave(m, 0), "k": k, "v": v, "beta": beta, "alpha": keep}
    outputs, final = run(GatedDeltaNet(), long)
    torch.testing.assert_close(got, ({"y": outputs["y"][m - 1 :: m]}, final))


def test_two_reflections_turn_a_matrix():
    """Keys at an angle a with beta = 2 turn S by 2 a; one key only mirrors it."""
    a = math.pi / 6
    k = torch.tensor([[1.0, 0.0], [math.cos(a), math.sin(a)]], dtype=torch.float64)
    wide = {f"k{j}": k[j].view(1, 1, 1, 2) for j in range(2)}
    wide |= {f"v{j}": torch.zeros(1, 1, 1, 2, dtype=torch.float64) for j in range(2)}
    wide |= {f"beta{j}": torch.full((1, 1, 1), 2.0, dtype=torch.float64) for j in range(2)}
    cell = DeltaProduct(DeltaProductOptions(forget_gate=False))
    S = torch.eye(2, dtype=torch.float64).view(1, 1, 2, 2)
    _, final = run_scan(cell, {**wide, "q": k[:1].view(1, 1, 1, 2)}, {}, {"S": S}, kernel="plain")
    c, s = math.cos(2 * a), math.sin(2 * a)
    torch.testing.assert_close(final["S"][0, 0], torch.tensor([[c, s], [-s, c]], dtype=torch.float64))


def test_what_sets_a_forget_gate_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="half_life has no effect without forget_gate"):
        DeltaProductOptions(forget_gate=False, half_life=30)


@pytest.mark.parametrize(("negative", "most"), [(False, 1.0), (True, 2.0)])
def test_eigenvalues(negative, most):
    """beta in [0, 1]: the eigenvalue 1 - beta of a step along its key is in [0, 1]; in [0, 2]: in [-1, 1]."""
    layer = DeltaNet(DeltaOptions(negative_eigenvalues=negative)).layer(8, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        layer.write.weight.fill_(100.0)
    seen = layer.core_inputs(torch.ones(1, 1, 8), *torch.ones(3, 1, 1, 4, 2))
    torch.testing.assert_close(seen["beta"], torch.full((1, 1, 4), most))
    torch.testing.assert_close(seen["k"].norm(dim=-1), torch.ones(1, 1, 4))


def test_half_lives_at_first():
    options = GatedDeltaOptions(heads=3, half_life=1000)
    layer = GatedDeltaNet(options).layer(6, 6, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        layer.clear.weight.zero_()
    alpha = layer.core_inputs(draw(1, 1, 6), *draw(3, 1, 1, 3, 2))["alpha"].flatten()
    torch.testing.assert_close(
        -math.log(2) / alpha.log(), torch.tensor([10.0, 100.0, 1000.0], dtype=torch.float64), rtol=1e-4, atol=0
    )


def test_a_short_convolution_is_the_one_of_torch():
    part = ShortConvolution(3, torch.Generator().manual_seed(0), bias=True, silu=False).double()
    x = draw(T, B, 3)
    torchs = torch.nn.Conv1d(3, 3, 4, groups=3, padding=3).double()
    with torch.no_grad():
        torchs.weight.copy_(part.weight.flip(0).T.unsqueeze(1))
        torchs.bias.copy_(part.bias)
    y, window = part(x, torch.zeros(B, 3, 3, dtype=torch.float64), None)
    torch.testing.assert_close(y, torchs(x.permute(1, 2, 0))[..., :T].permute(2, 0, 1))
    assert torch.equal(window, x[-3:].transpose(0, 1))


@pytest.mark.parametrize("name", ["deltanet", "gated-deltanet", "deltaproduct"])
def test_ragged_chunks(name):
    ragged_chunks_equal_the_whole(build(name, {"heads": 2}))
    outputs_are_recorded(build(name, {"heads": 2}))
    gradients_stay_finite(build(name, {"heads": 1}), steps=300)
