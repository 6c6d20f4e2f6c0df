"""HGRN and RG-LRU: closed forms over the whole sequence, half-lives, what the probe of gates sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from longlag.cells.base import GatedLayer
from longlag.cells.hgrn import HGRN, HGRNOptions
from longlag.cells.readout import ReadoutLayer
from longlag.cells.rglru import RGLRU, GatedDecay, RGLRUOptions
from longlag.errors import UserError
from longlag.probes.rollout import CapturedInputs
from longlag.probes.saturation import Saturation, gates
from tests.cells.sequences import gradients_stay_finite, ragged_chunks_equal_the_whole

I, H, T = 3, 4, 30  # noqa: E741
Array = NDArray[np.float64]


def build(cell: HGRN | RGLRU) -> tuple[ReadoutLayer, dict[str, Array]]:
    layer = cell.layer(I, H, torch.Generator().manual_seed(0)).double()
    for part in layer.modules():
        if isinstance(part, GatedLayer):
            part.kernel = "plain"
    return layer, {name: value.detach().numpy() for name, value in layer.named_parameters()}


def numbers() -> Array:
    return np.random.default_rng(0).normal(size=(T, I))


def sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


def summed(log_keep: Array, new: Array) -> Array:
    """s_t = sum over k <= t of keep_{k+1} ... keep_t new_k, all at once, from sums of logarithms."""
    total = np.cumsum(log_keep, 0)
    weights = np.exp(np.where(np.tri(T, dtype=bool)[..., None], total[:, None] - total[None], -np.inf))
    return np.asarray(np.einsum("tkh,kh->th", weights, new))


@pytest.mark.parametrize("options", [{}, {"lower_bound": 0.5, "half_life": 9, "gate": False, "norm": False}], ids=str)
def test_hgrn_equals_its_closed_form(options: dict[str, Any]) -> None:
    layer, p = build(HGRN(HGRNOptions(**options)))
    x, low = numbers(), options.get("lower_bound", 0)
    f, i = np.split(x @ p["scan.weight_ih"].T, 2, -1)
    f = low + (1 - low) * sigmoid(f + p.get("scan.bias", 0))
    y = summed(np.log(f), (1 - f) * i * sigmoid(i))
    if options.get("norm", True):
        y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * p["norm.weight"]
    if options.get("gate", True):
        g = x @ p["gate.weight"].T
        y = y * g * sigmoid(g)
    got, _ = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), y @ p["out.weight"].T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{"blocks": 2}, {"width": 6, "convolution": False, "gate": False}], ids=str)
def test_rg_lru_equals_its_closed_form(options: dict[str, Any]) -> None:
    layer, p = build(RGLRU(RGLRUOptions(**options)))
    x = numbers()
    u = x @ p["into.weight"].T + p["into.bias"]
    if options.get("convolution", True):
        padded = np.concatenate([np.zeros((3, u.shape[1])), u])
        u = sum(w * padded[3 - k : T + 3 - k] for k, w in enumerate(p["convolution.weight"]))
    n, size = p["scan.gates"].shape[1:3]
    blocks = [np.concatenate([u[:, k * size : (k + 1) * size] @ w[k].T for k in range(n)], -1) for w in p["scan.gates"]]
    r, i = sigmoid(blocks[0]), sigmoid(blocks[1])
    log_a = -8 * r * np.log1p(np.exp(p["scan.decay"]))
    room = np.sqrt(1 - np.exp(2 * log_a))
    room[0] = 1
    y = summed(log_a, room * i * u)
    if options.get("gate", True):
        b = x @ p["branch.weight"].T
        y = y * b * (1 + np.tanh(np.sqrt(2 / np.pi) * (b + 0.044715 * b**3))) / 2
    got, _ = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), y @ p["out.weight"].T, rtol=1e-8, atol=1e-12)


def test_published_decays_of_rg_lru() -> None:
    """Half-lives at the middle of the recurrence gate."""
    for init, power in (("code", 4), ("paper", 0.5)):
        given = {"gates": torch.zeros(2, 1, 1, 1), "bias": torch.zeros(2), "decay": torch.zeros(5000)}
        GatedDecay(RGLRUOptions.model_validate({"init": init})).initialise(
            given, 5000, torch.Generator().manual_seed(0)
        )
        lives = np.log(2) / (4 * np.log1p(np.exp(given["decay"].double().numpy())))
        low, high = (-np.log(2) / (power * np.log(a)) for a in (0.9, 0.999))
        assert 0.999 * low <= lives.min() < 1.01 * low and 0.95 * high < lives.max() <= 1.001 * high


@pytest.mark.parametrize(
    ("cell", "gate"), [(HGRN(HGRNOptions(half_life=200)), "f"), (RGLRU(RGLRUOptions(half_life=200)), "r")]
)
def test_half_life_is_seen_by_the_probe_of_gates(cell: HGRN | RGLRU, gate: str) -> None:
    layer, _ = build(cell)
    captured = CapturedInputs(layer, torch.zeros(2, 1, I).double(), layer.initial_state(1), None)
    assert Saturation().applies(captured)
    found = gates(captured)
    assert found is not None and gate in found.sigmoid and set(found.retention) == {"s"}
    _, middle, late = found.retention["s"]
    assert [-1 / np.log2(1 - 1 / value) for value in (middle, late)] == pytest.approx([200 ** (1 / 3), 200])
    assert "memory/s_time_constant_median" in Saturation().measure(captured)


def test_a_gate_that_is_shut_leaves_gradients_finite() -> None:
    layer, _ = build(RGLRU(RGLRUOptions(convolution=False)))
    layer.float()
    with torch.no_grad():
        layer.get_parameter("scan.bias").fill_(-200.0)  # r = 0 in float32: a = 1, and the root's slope infinite
    x = torch.randn(5, 1, I, generator=torch.Generator().manual_seed(1)).requires_grad_()
    layer(x)[0].sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(q.grad is not None and q.grad.isfinite().all() for q in layer.parameters())


def test_options_that_do_not_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"half_life is at least the 2.41 steps of a gate at its middle, got 2"):
        HGRNOptions(lower_bound=0.5, half_life=2)
    with pytest.raises(ValueError, match="init has no effect with half_life"):
        RGLRUOptions(init="paper", half_life=2)
    with pytest.raises(UserError, match="3 blocks do not divide the width of 4"):
        build(RGLRU(RGLRUOptions(blocks=3)))


@pytest.mark.parametrize("cell", [HGRN(), RGLRU()])
def test_sequences(cell: HGRN | RGLRU) -> None:
    ragged_chunks_equal_the_whole(cell)
    gradients_stay_finite(cell, steps=300)
