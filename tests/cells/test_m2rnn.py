"""M2RNN against a loop over single heads, with a head that keeps everything, and its memory at first."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from longlag.cells.m2rnn import M2RNN, M2RNNOptions
from longlag.cells.stack import build
from longlag.kernels import run_scan
from tests.cells.sequences import convolved, outputs_are_recorded, ragged_chunks_equal_the_whole

T, B, H = 7, 3, 6


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["plain", "compiled"])
@torch.no_grad()
def test_the_layer_equals_a_loop_over_single_heads(kernel):
    cell = M2RNN(M2RNNOptions(heads=2, expand_k=5 / 3, recurrent="normal", dt_min=0.1))
    layer = cell.layer(H, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = kernel
    u, wanted = draw(T, B, H), torch.zeros(T, B, 2, 3, dtype=torch.float64)
    q, k, v = convolved(layer.convolution, u @ layer.project.weight.mT).split([10, 10, 6], -1)
    dt = F.softplus(u @ layer.forget.weight.mT + layer.forget.bias)
    for b in range(B):
        for n in range(2):
            matrix, w = torch.zeros(5, 3, dtype=torch.float64), layer.weight_hh[n]
            for t in range(T):
                key, value, query = k[t, b, 5 * n : 5 * n + 5], v[t, b, 3 * n : 3 * n + 3], q[t, b, 5 * n : 5 * n + 5]
                f = math.exp(-math.exp(float(layer.log_rate[n])) * float(dt[t, b, n]))
                new = torch.stack([torch.tanh(w.mT @ matrix[i] + key[i] * value) for i in range(5)])
                matrix = f * matrix + (1 - f) * new
                wanted[t, b, n] = sum(query[i] * matrix[i] for i in range(5)) + layer.d[n] * value
    y = wanted.flatten(-2) * F.silu(u @ layer.gate.weight.mT)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(u)[0], y @ layer.out.weight.mT, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", ["plain", "compiled"])
def test_a_head_with_f_of_1_keeps_its_matrix(kernel):
    start, f = draw(B, 2, 4, 3), torch.tensor([1.0, 0.5], dtype=torch.float64).expand(T, B, 2)
    inputs = {"q": draw(T, B, 2, 4), "k": draw(T, B, 2, 4), "v": draw(T, B, 2, 3), "f": f}
    outputs, final = run_scan(M2RNN(), inputs, {"W": draw(2, 3, 3)}, {"S": start}, kernel=kernel)
    assert torch.equal(final["S"][:, 0], start[:, 0]) and not torch.equal(final["S"][:, 1], start[:, 1])
    read = torch.einsum("tbk,bkv->tbv", inputs["q"][:, :, 0], start[:, 0])
    torch.testing.assert_close(outputs["y"][:, :, 0], read)


def test_initialisation():
    layer = build("m2rnn", {"heads": 3, "half_life": 1000}).layer(2, 12, torch.Generator().manual_seed(0))
    assert torch.equal(layer.weight_hh, torch.eye(4).expand(3, 4, 4))
    lives = math.log(2) / (layer.log_rate.exp() * F.softplus(layer.forget.bias))
    torch.testing.assert_close(lives, torch.tensor([10.0, 100.0, 1000.0]), rtol=1e-3, atol=0)


def test_ragged_chunks():
    ragged_chunks_equal_the_whole(build("m2rnn", {"heads": 2}))
    outputs_are_recorded(build("m2rnn", {"heads": 2}))
