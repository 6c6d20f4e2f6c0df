"""CfC: its forms in NumPy, with one matrix for both of the code's; the authors' initialisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from longlag.cells.base import GatedLayer, rows
from longlag.cells.cfc import CfC, CfCOptions
from longlag.probes.rollout import CapturedInputs
from longlag.probes.saturation import gates

I, H = 3, 5  # noqa: E741


def build(hidden: int = H, **options: Any) -> GatedLayer:
    layer = CfC(CfCOptions(**options)).layer(I, hidden, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    return layer


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


@pytest.mark.parametrize(
    "options",
    [{"backbone": 2}, {"mode": "no_gate", "backbone": 0}, {"mode": "pure"}, {"mixed_memory": True, "backbone": 0}],
    ids=str,
)
def test_equals_the_equations(options: dict[str, Any]) -> None:
    layer = build(**options)
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    n, mode, mixed = options.get("backbone", 1), options.get("mode", "default"), options.get("mixed_memory", False)
    first = H * (4 if mixed else n)  # rows of the LSTM, or of the backbone
    x = np.random.default_rng(0).normal(size=(20, I))
    h, c, want = np.zeros(H), np.zeros(H), []
    for x_t in x:
        if mixed:
            i, f, z, o = np.split(p["weight_ih"][:first] @ x_t + p["weight_hh"] @ h + p["bias"][:first], 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
            read = p["weight_ih"][first:] @ x_t + p["weight_hh_2"] @ (sigmoid(o) * np.tanh(c))
        elif n:
            g = 1.7159 * np.tanh(0.666 * (p["weight_ih"] @ x_t + p["weight_hh"] @ h + p["bias"][:first]))
            read = p["weight_hh_2"] @ g
        else:
            read = p["weight_ih"] @ x_t + p["weight_hh"] @ h
        u, *rest = (read + p["bias"][first:]).reshape(-1, H)
        if mode == "pure":
            h = -p["a"] * np.exp(-(np.abs(p["w"]) + np.abs(u))) * u + p["a"]
        else:
            v, tau = np.tanh(rest[0]), sigmoid(rest[1])
            h = np.tanh(u) * (1 - tau if mode == "default" else 1) + tau * v
        want.append(h)
    got, final = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), want, rtol=1e-12, atol=1e-14)
    assert not mixed or np.allclose(final["c"][0].detach(), c, rtol=1e-12)


def test_initialisation() -> None:
    size = 300
    layer = build(size).requires_grad_(False)
    names = ("u", "v", "tau")
    variances = [float(rows(names, layer.weight_hh_2, name).var()) * size for name in names]
    assert variances == pytest.approx([1, 1, 2], rel=0.03)  # 2 / (fan in + fan out), twice for the sum of two
    assert float(layer.weight_hh.var()) == pytest.approx(2 / (I + 2 * size), rel=0.03)
    bias = rows(("g1", *names), layer.bias, "u")
    assert 0.9 * size**-0.5 < float(bias.abs().max()) <= size**-0.5


def test_half_life_is_the_forget_gates_of_the_mixed_memory() -> None:
    layer = build(backbone=0, mixed_memory=True, half_life=81).requires_grad_(False)
    layer.weight_hh.zero_()
    found = gates(CapturedInputs(layer, torch.zeros(1, 1, I).double(), layer.initial_state(1), None))
    assert found is not None and {"f", "i", "o", "tau"} == set(found.sigmoid)
    _, middle, _ = found.retention["c"]
    assert -1 / np.log2(1 - 1 / middle) == pytest.approx(81**0.5, rel=1e-4)
    for options, message in (
        ({"half_life": 81}, "half_life sets a forget gate: it needs mixed_memory: true"),
        ({"mixed_memory": True}, "mixed_memory needs backbone: 0"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**options)
