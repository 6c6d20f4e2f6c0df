"""S5 against a convolution by FFT, and what it starts from against HiPPO's matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlag.cells.s5 import S5, S5Options, hippo_pairs
from longlag.cells.stack import build
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

SMALL = {"state_size": 8, "blocks": 2}


@pytest.mark.parametrize("inputs", [2, 3])
def test_equals_its_convolution(inputs):
    steps, hidden = 40, 3
    layer = S5(S5Options(**SMALL, mix="none")).layer(inputs, hidden, torch.Generator().manual_seed(0)).double()
    p = {name: v.detach().numpy() for name, v in layer.named_parameters()}
    x = np.random.default_rng(0).normal(size=(steps, inputs))
    u = x if inputs == hidden else x @ p["encoder.weight"].T + p["encoder.bias"]
    a, dt = p["a_re"] + 1j * p["a_im"], np.exp(p["log_dt"])
    b = ((np.exp(dt * a) - 1) / a)[:, None] * (p["b"][0] + 1j * p["b"][1])
    powers = np.exp(np.outer(np.arange(steps), dt * a))
    kernel = 2 * np.einsum("hn,tn,ni->thi", p["c"][0] + 1j * p["c"][1], powers, b).real
    size = 2 * steps
    spectrum = np.einsum("thi,ti->th", np.fft.rfft(kernel, size, 0), np.fft.rfft(u, size, 0))
    want = np.fft.irfft(spectrum, size, 0)[:steps] + p["d"] * u
    got, _ = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach().numpy(), want, rtol=1e-9, atol=1e-9)


def test_eigenvalues_are_those_of_the_normal_part_of_hippo():
    n = np.arange(8)
    root = np.sqrt(2 * n + 1)
    hippo = -(np.tril(np.outer(root, root), -1) + np.diag(n + 1))
    normal = hippo + np.outer(root, root) / 2
    imaginary, vectors = (tensor.numpy() for tensor in hippo_pairs(8))
    assert (imaginary > 0).all() and np.isreal(vectors[0]).all()
    np.testing.assert_allclose(normal @ vectors, vectors * (1j * imaginary - 0.5), atol=1e-12)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(4), atol=1e-12)


def test_initialisation():
    layer = S5().layer(32, 32, torch.Generator().manual_seed(0))
    assert layer.b.shape == (2, 64, 32) and layer.c.shape == (2, 32, 64)
    for part in (layer.b, layer.c):  # complex: B' is real and C' is not, both turned
        assert math.isclose(part.square().sum(0).mean().item(), (1 if part is layer.b else 2) / 128, rel_tol=0.1)
    dt = layer.log_dt.exp()
    assert dt.min() >= 0.00099 and dt.max() <= 0.101
    layer = S5(S5Options(state_size=6, blocks=1, half_life=1000)).layer(3, 3, torch.Generator().manual_seed(0))
    own, *_ = layer.discrete()
    lives = -math.log(2) / torch.hypot(own["a_re"], own["a_im"])[0].log()
    torch.testing.assert_close(lives, torch.tensor([10.0, 100.0, 1000.0]), rtol=1e-3, atol=0)


def test_clipped_eigenvalues_do_not_grow():
    for clip in (False, True):
        layer = S5(S5Options(**SMALL, clip_eigenvalues=clip)).layer(3, 3, torch.Generator().manual_seed(0))
        layer.a_re.data.fill_(1.0)
        own, *_ = layer.discrete()
        assert (torch.hypot(own["a_re"], own["a_im"]).max() < 1) == clip


def test_impossible_blocks():
    with pytest.raises(ValueError, match=r"state_size is a multiple of 2 \* blocks, got 12 states and 4 blocks"):
        S5Options(state_size=12)


def test_sequences():
    ragged_chunks_equal_the_whole(build("s5", SMALL))
    gradients_stay_finite(build("s5", SMALL))
    outputs_are_recorded(build("s5", SMALL))
