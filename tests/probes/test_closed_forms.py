"""Gradient norms, Jacobians and Lyapunov exponents against closed forms, float64, relative error 1e-6 at most."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from longlag.cells import Stack, StateGradients, layer
from longlag.probes import curves, jacobian, states
from longlag.probes.flow import Curve
from longlag.probes.orthogonality import orthogonality_error
from longlag.probes.rollout import CapturedInputs

T, B, H, I = 30, 3, 5, 2  # noqa: E741  the field's name for the input size
RTOL = 1e-6


def seeded(name: str, depth: int = 1, size: int = H, **options: object) -> Stack:
    torch.manual_seed(4)
    return layer(name, I, size, depth, torch.Generator().manual_seed(3), **options).double()


def inputs() -> torch.Tensor:
    return torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def flow(stack: Stack, kernel: str = "plain", at: str = "h") -> dict[str, Curve]:
    """The curves of L = mean_b sum(state_{T, b}) of the top layer."""
    each: Any
    for each in stack.layers:
        each.kernel = kernel
    records = [StateGradients() for _ in stack.layers]
    dtype = next(stack.parameters()).dtype
    _, final = stack(inputs().to(dtype), None, None, records)
    final[-1][at].sum(-1).mean().backward()
    named = {f"layer{k}": record for k, record in enumerate(records, start=1)}
    return {curve.name: curve for curve in curves(named)}


def captured(stack: Stack) -> CapturedInputs:
    return CapturedInputs(stack.layers[0].requires_grad_(False), inputs(), stack.layers[0].initial_state(B), None)


def rows(stack: Stack, name: str) -> slice:
    own: Any = stack.layers[0]
    k = own.layout.biases.index(name)
    return slice(k * H, (k + 1) * H)


@pytest.mark.parametrize("kernel", ["plain", "auto"])
def test_scalar_tanh_network_is_a_product_of_derivatives(kernel: str) -> None:
    stack = seeded("rnn", size=1)
    own = stack.layers[0]
    w, v, b = (p.detach().numpy().ravel() for p in (own.weight_hh, own.weight_ih, own.bias))
    x, h, slopes = inputs().numpy(), np.zeros(B), []
    for t in range(T):
        h = np.tanh(w * h + x[t] @ v + b)
        slopes.append(1 - h**2)
    expected = [np.abs(np.prod([w[0] * s for s in slopes[t + 1 :]], axis=0) * np.ones(B)).mean() for t in range(T)]
    np.testing.assert_allclose(flow(stack, kernel)["layer1.h"].norms, expected, rtol=RTOL)


@pytest.mark.parametrize("kernel", ["plain", "auto"])
@pytest.mark.parametrize("bias", [1000.0, 2.0, -1.0])
def test_a_constant_forget_gate_decays_by_its_powers(kernel: str, bias: float) -> None:
    """With f = 1 the carousel is exactly flat; with a constant f it is f^k."""
    stack = seeded("lstm")
    own = stack.layers[0]
    own.weight_hh.data.zero_()
    own.weight_ih.data[rows(stack, "f")] = 0
    own.bias.data[rows(stack, "f")] = bias
    by_lag = flow(stack, kernel, "c")["layer1.c"].by_lag
    f = 1 / (1 + math.exp(-bias))
    np.testing.assert_allclose(by_lag, math.sqrt(H) * f ** np.arange(T), rtol=RTOL)
    if bias == 1000:
        assert np.all(by_lag == by_lag[0])


@pytest.mark.parametrize("kernel", ["plain", "auto"])
@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("bias", [1000.0, 1.5])
def test_a_forced_update_gate_of_a_gru(kernel: str, reset: str, bias: float) -> None:
    """Without recurrent products h_t = (1 - z) n_t + z h_{t-1}, and the gradient is z^k."""
    stack = seeded("gru", reset=reset)
    own = stack.layers[0]
    for name, parameter in own.named_parameters():
        if name.startswith("weight_hh"):
            parameter.data.zero_()
    own.weight_ih.data[rows(stack, "z")] = 0
    own.bias.data[rows(stack, "z")] = bias
    if reset == "after":
        own.bias_hh.data.zero_()
    z = 1 / (1 + math.exp(-bias))
    np.testing.assert_allclose(flow(stack, kernel)["layer1.h"].by_lag, math.sqrt(H) * z ** np.arange(T), rtol=RTOL)


@pytest.mark.parametrize("kernel", ["plain", "auto"])
def test_two_linear_layers_sum_over_all_paths(kernel: str) -> None:
    """dL/dh1_{T-k} = sum_j (U1^T)^(k-j) V2^T (U2^T)^j g."""
    stack = seeded("rnn", 2, activation="linear")
    low, high = stack.layers
    u1, u2, v2 = (p.detach().numpy().T for p in (low.weight_hh, high.weight_hh, high.weight_ih))
    power, g = np.linalg.matrix_power, np.ones(H)
    found = flow(stack, kernel)
    below = [sum(power(u1, k - j) @ v2 @ power(u2, j) @ g for j in range(k + 1)) for k in range(T)]
    np.testing.assert_allclose(found["layer1.h"].by_lag, [np.linalg.norm(v) for v in below], rtol=RTOL)
    above = [np.linalg.norm(power(u2, k) @ g) for k in range(T)]
    np.testing.assert_allclose(found["layer2.h"].by_lag, above, rtol=RTOL)


@pytest.mark.parametrize("name", ["rnn", "irnn", "lstm-1997", "lstm", "lstm-peephole", "gru", "urnn", "scornn"])
def test_both_paths_agree_in_float32(name: str) -> None:
    at = "re" if name == "urnn" else "h"
    plain, other = (flow(seeded(name, 2).float(), kernel, at) for kernel in ("plain", "auto"))
    assert plain.keys() == other.keys()
    for key, curve in plain.items():
        np.testing.assert_allclose(other[key].norms, curve.norms, rtol=1e-5, atol=1e-5 * curve.norms.max())


def test_underflow_is_shown_as_underflow() -> None:
    stack = seeded("rnn", activation="linear").float()
    stack.layers[0].weight_hh.data.copy_(torch.eye(H) * 1e-3)
    curve = flow(stack)["layer1.h"]
    assert 13 <= curve.scalars.underflow <= 16 and curve.scalars.log10_ratio == -math.inf
    assert np.all(curve.by_lag[int(curve.scalars.underflow) :] == 0)


# -- one step -----------------------------------------------------------------------------------------------------


def test_jacobian_of_a_linear_network_is_its_matrix() -> None:
    stack = seeded("rnn", activation="linear")
    spectrum = jacobian.spectrum(captured(stack))
    matrix = stack.layers[0].weight_hh.numpy()
    np.testing.assert_allclose(spectrum.singular[0, 0], np.linalg.svd(matrix)[1], rtol=RTOL)
    np.testing.assert_allclose(spectrum.radius, np.abs(np.linalg.eigvals(matrix)).max(), rtol=RTOL)


@pytest.mark.parametrize("name", ["lru", "s4d"])
def test_spectral_radius_of_a_diagonal_recurrence_is_its_slowest_eigenvalue(name: str) -> None:
    """The output, which is part of the state, adds eigenvalues of 0."""
    stack = seeded(name)
    own: Any = stack.layers[0]
    units = own.core_parameters() if name == "s4d" else own.scan.weights().units
    re, im = (units[key].detach().numpy() for key in units if key.startswith(("lambda", "a_")))
    np.testing.assert_allclose(jacobian.spectrum(captured(stack)).radius, np.hypot(re, im).max(), rtol=RTOL)


def test_lyapunov_exponents_of_a_linear_map_are_the_logarithms_of_its_eigenvalues() -> None:
    stack = seeded("rnn", activation="linear")
    values = np.array([1.1, 0.6, 0.3, 0.1, 0.02])
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0]
    stack.layers[0].weight_hh.data.copy_(torch.from_numpy(basis @ np.diag(values) @ basis.T))
    found = jacobian.lyapunov(captured(stack), leading=4, warm_up=0.7)
    np.testing.assert_allclose(found, np.log(values[:4]), rtol=RTOL)


def test_lyapunov_exponent_of_a_scalar_tanh_network_is_the_mean_log_slope() -> None:
    stack = seeded("rnn", size=1)
    given = captured(stack)
    total = 0.0
    for b in range(B):
        one = CapturedInputs(given.layer, given.x[:, b : b + 1], {"h": given.state["h"][:1]}, None)
        total += float(np.log(jacobian.spectrum(one, samples=T).singular).mean())
    np.testing.assert_allclose(jacobian.lyapunov(given, warm_up=0), [total / B], rtol=RTOL)


def test_orthogonality_and_norms() -> None:
    assert orthogonality_error(seeded("scornn").layers[0]) < 1e-12
    stack = seeded("rnn", activation="linear")
    stack.layers[0].weight_hh.data.copy_(1.5 * torch.eye(H))
    assert orthogonality_error(stack.layers[0]) == pytest.approx(0.5)
    assert orthogonality_error(seeded("lstm").layers[0]) is None
    stack.layers[0].weight_ih.data.zero_(), stack.layers[0].bias.data.zero_()
    start = {"h": torch.ones(B, H, dtype=torch.float64)}
    norms = states.norms(CapturedInputs(stack.layers[0].requires_grad_(False), inputs(), start, None))["h"]
    np.testing.assert_allclose(norms, math.sqrt(H) * 1.5 ** np.arange(1, T + 1), rtol=RTOL)
    assert states.growth(norms) == pytest.approx((T - 1) * math.log10(1.5))
