"""State-space layers: S4D against its convolution kernel, the selective one against its equations in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlag.cells import Cell, Stack
from longlag.cells.selective import Selective, SelectiveLayer, SelectiveOptions
from longlag.cells.ssm import S4D, S4DLayer, S4DOptions
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

CELLS = [
    S4D(S4DOptions(state_size=4)),
    Selective(SelectiveOptions(state_size=2)),
    Selective(SelectiveOptions(state_size=3, dt_rank=2, mix="glu")),
]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def arrays(stack: Stack) -> dict[str, np.ndarray]:
    return {name.removeprefix("layers.0."): v.detach().numpy() for name, v in stack.named_parameters()}


@pytest.mark.parametrize("init", ["lin", "inv"])
@pytest.mark.parametrize("inputs", [2, 3])
def test_s4d_equals_its_convolution(init: str, inputs: int) -> None:
    steps, hidden = 40, 3
    options = S4DOptions(state_size=8, init=init, mix="none")
    stack = Stack(S4D(options), inputs, hidden, 1, torch.Generator().manual_seed(0)).double()
    p = arrays(stack)
    x = np.random.default_rng(0).normal(size=(steps, inputs))
    u = x if inputs == hidden else x @ p["encoder.weight"].T + p["encoder.bias"]
    a = -np.exp(p["log_a"]) + 1j * p["a_im"]
    dt = np.exp(p["log_dt"])[:, None]
    c = (p["c"][0] + 1j * p["c"][1]) * (np.exp(dt * a) - 1) / a
    kernel = 2 * np.einsum("hn,hnl->hl", c, np.exp((dt * a)[..., None] * np.arange(steps))).real
    spectrum = np.fft.rfft(kernel.T, 2 * steps, 0) * np.fft.rfft(u, 2 * steps, 0)
    want = np.fft.irfft(spectrum, 2 * steps, 0)[:steps] + u * p["d"]
    got, _ = stack(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach().numpy(), want, rtol=1e-9, atol=1e-9)


def test_s4d_initialisation() -> None:
    for init in ("lin", "inv"):
        layer = S4D(S4DOptions(init=init)).layer(4, 600, torch.Generator().manual_seed(0))
        assert isinstance(layer, S4DLayer)
        n = torch.arange(32)
        want = math.pi * n if init == "lin" else 64 / math.pi * (64 / (2 * n + 1) - 1)
        torch.testing.assert_close(layer.a_im[7].detach(), want)
        torch.testing.assert_close(layer.log_a.exp(), torch.full((600, 32), 0.5))
    log_dt = layer.log_dt.detach()
    assert math.log(0.001) <= log_dt.min() and log_dt.max() <= math.log(0.1)
    assert math.isclose(log_dt.mean().item(), math.log(0.01), rel_tol=0.05)
    torch.testing.assert_close(layer.c.square().sum(0).mean(), torch.tensor(1.0), rtol=0.05, atol=0)


def test_half_lives_at_first() -> None:
    want = torch.tensor([10.0, 100.0, 1000.0])
    layer = S4D(S4DOptions(half_life=1000)).layer(3, 3, torch.Generator().manual_seed(0))
    own = layer.core_parameters()
    radius = torch.hypot(own["a_re"], own["a_im"])[0, :, 5]
    torch.testing.assert_close(-math.log(2) / radius.log(), want, rtol=1e-3, atol=0)
    for negative in (False, True):
        options = SelectiveOptions(half_life=1000, negative_eigenvalues=negative)
        dt = torch.nn.functional.softplus(Selective(options).layer(3, 3, torch.Generator()).to_dt.bias.double())
        kept = torch.exp(-dt)
        lives = -math.log(2) / (2 * kept - 1 if negative else kept).log()
        torch.testing.assert_close(lives, want.double(), rtol=1e-3, atol=0)


def test_discretisation_keeps_its_digits_at_small_steps() -> None:
    """float32: (exp(dt A) - 1) / A is close to dt, not a difference of nearly equal numbers."""
    layer = S4D(S4DOptions(dt_min=1e-6, dt_max=1e-6)).layer(4, 4, torch.Generator().manual_seed(0))
    assert isinstance(layer, S4DLayer)
    single = layer.core_parameters()
    double = layer.double().core_parameters()
    for name in ("c_re", "a_im"):
        torch.testing.assert_close(single[name].double(), double[name], rtol=1e-5, atol=0)


def selective_in_numpy(
    p: dict[str, np.ndarray], x: np.ndarray, sizes: tuple[int, int, int], gated: bool, negative: bool
) -> np.ndarray:
    """One example, step by step, one channel and state at a time."""
    rank, size, _ = sizes
    softplus, sigmoid = (lambda v: np.log1p(np.exp(v))), (lambda v: 1 / (1 + np.exp(-v)))
    a = -np.exp(p["log_a"])
    s, outputs = np.zeros_like(a), []
    for x_t in x:
        u = p["encoder.weight"] @ x_t + p["encoder.bias"]
        r, b, c = np.split(p["select.weight"] @ u, [rank, rank + size])
        dt = softplus(p["to_dt.weight"] @ r + p["to_dt.bias"])
        for h in range(len(u)):
            for n in range(size):
                kept = np.exp(dt[h] * a[h, n])
                s[h, n] = (2 * kept - 1 if negative else kept) * s[h, n] + dt[h] * b[n] * u[h]
        y = s @ c + p["d"] * u
        if gated:
            z = p["gate.weight"] @ u
            y = p["out.weight"] @ (y * z * sigmoid(z))
        outputs.append(y)
    return np.array(outputs)


@pytest.mark.parametrize(("mix", "negative"), [("none", True), ("silu-gate", False)])
def test_selective_equals_its_equations(mix: str, negative: bool) -> None:
    options = SelectiveOptions(state_size=3, dt_rank=2, mix=mix, negative_eigenvalues=negative)
    stack = Stack(Selective(options), 2, 5, 1, torch.Generator().manual_seed(0)).double()
    x = np.random.default_rng(0).normal(size=(15, 2, 2))
    got, _ = stack(torch.from_numpy(x))
    for b in range(2):
        want = selective_in_numpy(arrays(stack), x[:, b], (2, 3, 3), mix == "silu-gate", negative)
        np.testing.assert_allclose(got[:, b].detach().numpy(), want, rtol=1e-10, atol=1e-10)


def test_selective_initialisation() -> None:
    layer = Selective().layer(4, 800, torch.Generator().manual_seed(0))
    assert isinstance(layer, SelectiveLayer)
    torch.testing.assert_close(layer.log_a[5].exp(), torch.arange(1.0, 17.0))
    dt = torch.nn.functional.softplus(layer.to_dt.bias.detach())
    assert dt.min() > 0.00099 and dt.max() < 0.101
    assert math.isclose(dt.log().mean().item(), math.log(0.01), rel_tol=0.05)
    assert layer.widths == (50, 16, 16) and torch.equal(layer.d, torch.ones(800))
    assert layer.to_dt.weight.abs().max() <= 50**-0.5


@pytest.mark.parametrize("cell", CELLS)
def test_sequences(cell: Cell) -> None:
    ragged_chunks_equal_the_whole(cell)
    gradients_stay_finite(cell)
    outputs_are_recorded(cell)


def test_impossible_steps() -> None:
    with pytest.raises(ValueError, match="dt_min is at most dt_max"):
        S4DOptions(dt_min=0.1, dt_max=0.01)
