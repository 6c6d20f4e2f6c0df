"""Saturation of gates and what states keep, counted by hand; scalars, lags and quantiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from longlag.cells import layer
from longlag.models import Tensors, build
from longlag.probes import Scalars
from longlag.probes.flow import nanquantile
from longlag.probes.lag import lag_curves, sampled
from longlag.probes.rollout import CapturedInputs
from longlag.probes.saturation import gates
from longlag.probes.scalars import slope
from longlag.spec import ModelSpec, load_run

H = 4


def captured(name: str, bias: dict[str, list[float]], **options: object) -> CapturedInputs:
    """A layer whose gates are given by their biases alone, over three steps without input."""
    stack = layer(name, 1, H, 1, torch.Generator().manual_seed(0), **options)
    own: Any = stack.layers[0].double().requires_grad_(False)
    for parameter in own.parameters():
        parameter.zero_()
    for gate, values in bias.items():
        k = own.layout.biases.index(gate)
        own.bias[k * H : (k + 1) * H] = torch.logit(torch.tensor(values, dtype=torch.float64))
    return CapturedInputs(own, torch.zeros(3, 2, 1, dtype=torch.float64), own.initial_state(2), None)


@pytest.mark.parametrize("name", ["lstm", "lstm-peephole"])
def test_gates_of_an_lstm(name: str) -> None:
    found = gates(captured(name, {"f": [0.05, 0.5, 0.92, 0.99], "i": [0.2] * H, "o": [0.01, 0.02, 0.03, 0.95]}))
    assert found is not None
    assert found.sigmoid["f"] == pytest.approx((0.25, 0.5, 0.615))
    assert found.sigmoid["i"] == pytest.approx((0, 0, 0.2))
    assert found.sigmoid["o"] == pytest.approx((0.75, 0.25, 0.2525))
    assert found.tanh["z"] == 0
    mean, middle, late = found.retention["c"]
    assert (mean, middle, late) == pytest.approx((0.615, 2, 100))
    assert "h" not in found.retention


def test_what_other_cells_keep() -> None:
    shares = [0.05, 0.5, 0.92, 0.99]
    gru, before, mgu = (
        gates(captured("gru", {"z": shares})),
        gates(captured("gru", {"z": shares}, reset="before")),
        gates(captured("mgu", {"f": shares})),
    )
    assert gru is not None and before is not None and mgu is not None
    assert gru.sigmoid["z"] == before.sigmoid["z"] == mgu.sigmoid["f"]
    assert gru.retention["h"][0] == pytest.approx(0.615) and before.retention["h"][0] == pytest.approx(0.615)
    assert mgu.retention["h"][0] == pytest.approx(1 - 0.615)
    assert set(gru.tanh) == set(mgu.tanh) == {"n"}
    carousel = gates(captured("lstm-1997", {}))
    assert carousel is not None and carousel.retention["c"] == (1, math.inf, math.inf)
    leaky = gates(captured("rnn", {}, leak=0.25))
    assert leaky is not None and leaky.retention["h"] == pytest.approx((0.75, 4, 4))


def test_padding_does_not_count() -> None:
    given = captured("rnn", {})
    given.layer.weight_ih.fill_(100.0)
    x = torch.ones_like(given.x)
    x[2:] = 0
    mask = torch.tensor([[True, True], [True, True], [False, False]])
    found = gates(CapturedInputs(given.layer, x, given.state, mask))
    assert found is not None and found.tanh["a"] == 1


@pytest.mark.parametrize("roughness", [0.1, 1e-8])
def test_the_slope_is_that_of_a_linear_regression(roughness: float) -> None:
    rng = np.random.default_rng(3)
    for steps in (3, 10, 300):
        curve = 10.0 ** (roughness * rng.normal(size=steps).cumsum())
        wanted = linregress(np.arange(steps), np.log10(curve))
        assert slope(curve) == (wanted.slope, wanted.stderr)
    assert all(map(math.isnan, slope(np.array([1.0, 0.5]))))
    assert slope(np.ones(5))[0] == 0 and math.isnan(slope(np.ones(5))[1])


def test_scalars_of_a_known_decay() -> None:
    by_lag = 10.0 ** (-0.25 * np.arange(41))
    found = Scalars.of(by_lag)
    assert (found.horizon, found.horizon10) == (8, 4)
    assert found.slope == pytest.approx(-0.25) and found.slope_error == pytest.approx(0, abs=1e-9)
    assert found.log10_ratio == pytest.approx(-10) and found.tiny == pytest.approx(16 / 41)
    assert math.isnan(found.underflow)
    assert Scalars.of(np.array([1.0, 0.1, 0.0, 0.0])).underflow == 2
    assert Scalars.of(np.array([1.0, 0.0, 0.1])).log10_ratio == pytest.approx(-1)
    nothing = Scalars.of(np.array([0.0, 0.0, 0.0]))
    assert nothing.horizon == 0 and nothing.underflow == 0 and math.isnan(nothing.log10_ratio)


def test_quantiles_are_numpys() -> None:
    values = np.random.default_rng(0).normal(size=(7, 9))
    values[3, 4:] = math.nan
    np.testing.assert_allclose(nanquantile(values), np.nanquantile(values, [0.1, 0.5, 0.9], axis=1))


def test_sampled_steps_are_counted_ones_from_the_end() -> None:
    counted = np.zeros((10, 2), bool)
    counted[[2, 5, 9], 0] = True
    counted[[0, 1], 1] = True
    found = [tau.tolist() for tau in sampled(counted, samples=3, late=1)]
    assert found == [[9, 1], [5, 0], [2, 0]]


@pytest.mark.parametrize("name", ["gru", "urnn"])
def test_lag_curve_is_the_gradient_of_the_loss_at_one_step(name: str) -> None:
    """Against autograd on a sequence that is cut after the step."""
    spec = load_run({"task": {"name": "copy-memory", "length": 4, "symbols": 2}, "cell": name})
    task = spec.task.build()
    model = build(task.signature, spec.cell.build(), ModelSpec(hidden_size=5), torch.Generator().manual_seed(0))
    model.double().eval()
    batch = task.sample(np.random.default_rng(0), 3)
    found = {c.state: c for c in lag_curves(model, Tensors.of(batch, torch.float64, torch.device("cpu")), samples=1)}
    own = model.stack.layers[0]
    inputs = torch.nn.functional.one_hot(torch.from_numpy(batch.inputs), task.signature.input.size).double()
    state = [{n: v.clone() for n, v in model.stack.initial_state(3)[0].items()}]
    for x_t in inputs:
        state.append(own.step(x_t, state[-1])[1])
    output = torch.cat([state[-1][n] for n in own.cell.outputs], -1)
    value = torch.nn.functional.cross_entropy(model.readout(output), torch.from_numpy(batch.targets[-1])) * 3
    for key in own.state_names:
        grads = torch.autograd.grad(value, [s[key] for s in state[1:]], retain_graph=True)
        expected = [float(g.norm(dim=-1).mean()) for g in reversed(grads)]
        np.testing.assert_allclose(found[key].by_lag, expected, rtol=1e-6)
    if name == "urnn":
        assert set(found) == {"h", "re", "im"} and np.all(found["h"].by_lag >= found["re"].by_lag)
