"""The phased LSTM: its clocks in NumPy around an LSTM of ours, the gate that is always open, half-lives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from longlag.cells.base import GatedLayer
from longlag.cells.lstm_presets import PeepholeLSTM
from longlag.cells.phased import PhasedLSTM, PhasedLSTMOptions

I, H = 3, 5  # noqa: E741


def build(**options: object) -> tuple[GatedLayer, GatedLayer]:
    """A phased layer, and the LSTM that it has inside."""
    layer = PhasedLSTM(PhasedLSTMOptions.model_validate(options)).layer(I, H, torch.Generator().manual_seed(0)).double()
    inside = PeepholeLSTM().layer(I, H).double()
    layer.kernel = inside.kernel = "plain"
    inside.load_state_dict({name: value for name, value in layer.state_dict().items() if name in inside.state_dict()})
    return layer, inside


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).double()


def test_equals_the_equations() -> None:
    layer, inside = build(period_min=2, period_max=20, open_ratio=0.375, leak=0.1)
    tau, s = layer.period.detach().numpy(), layer.shift.detach().numpy()
    x, state, want, gates = numbers(40, 2, I), inside.initial_state(2), [], []
    for t, x_t in enumerate(x):
        phi = np.mod(t - s, tau) / tau
        gates.append(np.where(phi < 0.1875, phi / 0.1875, np.where(phi < 0.375, 2 - phi / 0.1875, 0.1 * phi)))
        k = torch.from_numpy(gates[-1])
        _, new = inside.step(x_t, state)
        state = {name: k * new[name] + (1 - k) * state[name] for name in state}
        want.append(state["h"])
    kinds = np.digitize(np.stack(gates), [0.02, 0.5])
    assert all((kinds == kind).any() for kind in range(3))
    got, final = layer(x)
    torch.testing.assert_close(got, torch.stack(want), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(final["c"], state["c"], rtol=1e-10, atol=1e-12)
    assert final["t"].unique().tolist() == [40]


def test_a_gate_that_is_always_open_is_an_lstm() -> None:
    layer, inside = build(open_ratio=1)
    with torch.no_grad():
        layer.period.fill_(1)
        layer.shift.fill_(0.5)
    x = numbers(30, 2, I)
    torch.testing.assert_close(layer(x)[0], inside(x)[0], rtol=1e-12, atol=1e-15)


def test_a_closed_unit_hands_on_its_gradient_whole() -> None:
    layer, _ = build(leak=0, open_ratio=0.1)
    with torch.no_grad():
        layer.period.fill_(1000)
        layer.shift.fill_(-500)
    start = {"h": numbers(1, H), "c": numbers(1, H).requires_grad_(), "t": torch.zeros(1, H).double()}
    outputs, final = layer(numbers(300, 1, I), start)
    torch.testing.assert_close(outputs[-1], start["h"])
    (gradient,) = torch.autograd.grad(final["c"].sum(), start["c"])
    torch.testing.assert_close(gradient, torch.ones_like(gradient))


def test_half_life_of_what_no_gate_reads() -> None:
    options = PhasedLSTMOptions(half_life=2000, period_min=30, period_max=60)
    layer = PhasedLSTM(options).layer(I, H, torch.Generator().manual_seed(0)).double().requires_grad_(False)
    for name in ("weight_ih", "weight_hh", "peephole_i", "peephole_f", "peephole_o"):
        layer.get_parameter(name).zero_()
    one = torch.ones(1, H).double()
    _, final = layer(torch.zeros(6000, 1, I).double(), {"h": 0 * one, "c": one, "t": 0 * one})
    lives = -6000 * math.log(2) / torch.log(final["c"][0])
    want = options.fastest * (2000 / options.fastest) ** (torch.arange(H) / (H - 1))
    lost = math.log(2) / want / options.openness
    keeps = 1 - lost  # the mean of -log(1 - lost k) over k in [0, 1], not to first order
    whole = 0.05 * (1 + keeps * torch.log(keeps) / lost) + 0.001 * (1 - 0.05**2) / 2 * lost
    assert lives.tolist() == pytest.approx((math.log(2) / whole).tolist(), rel=0.02)
    assert float(lives[-1]) == pytest.approx(2000, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"half_life": 50},
            "half_life is above the 54.4 steps in which a unit with open_ratio 0.05 halves by itself",
        ),
        (
            {"half_life": 500, "forget_gate": "none"},
            "half_life sets the forget gate's bias: it needs forget_gate 'own'",
        ),
        ({"half_life": 500, "forget_bias": 1.0}, "forget_bias has no effect with half_life, which sets it"),
        ({"period_min": 3, "period_max": 2}, "period_min is at most period_max, got 3.0 and 2.0"),
    ],
)
def test_clocks_that_do_not_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PhasedLSTMOptions.model_validate(options)
