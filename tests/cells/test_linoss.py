"""LinOSS and D-LinOSS against powers of their matrices, and the moduli that they start from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlag.cells.linoss import DLinOSS, DLinOSSOptions, LinOSS, LinOSSOptions
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

CELLS = {
    "imex": LinOSS(LinOSSOptions(state_size=4, mix="none")),
    "im": LinOSS(LinOSSOptions(state_size=4, method="im", mix="none")),
    "damped": DLinOSS(DLinOSSOptions(state_size=4, mix="none")),
}


def layer_of(cell, inputs=3, hidden=3):
    return cell.layer(inputs, hidden, torch.Generator().manual_seed(0)).double()


def matrices(name, p):
    """Those of z and x, ``[P, 2, 2]``, and what they add of the force, ``[P, 2]``, as the papers have them."""
    dt = 1 / (1 + np.exp(-p["log_dt"]))
    a = np.maximum(p["a"], 0)
    if name == "imex":
        m = [[np.ones_like(dt), -dt * a], [dt, 1 - dt**2 * a]]
        f = [dt, dt**2]
    elif name == "im":
        s = 1 + dt**2 * a
        m = [[1 - dt**2 * a / s, -dt * a / s], [dt / s, 1 / s]]
        f = [dt * (1 - dt**2 * a / s), dt**2 / s]
    else:
        s = 1 + dt * np.maximum(p["g"], 0)
        a = np.clip(p["a"], (2 + dt * p["g"] - 2 * np.sqrt(s)) / dt**2, (2 + dt * p["g"] + 2 * np.sqrt(s)) / dt**2)
        m = [[1 / s, -dt * a / s], [dt / s, 1 - dt**2 * a / s]]
        f = [dt / s, dt**2 / s]
    return np.array(m).transpose(2, 0, 1), np.array(f).T


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("name", CELLS)
def test_equals_powers_of_its_matrices(name, inputs):
    steps = 20
    layer = layer_of(CELLS[name], inputs)
    p = {n: v.detach().numpy() for n, v in layer.named_parameters()}
    m, f = matrices(name, p)
    x = np.random.default_rng(0).normal(size=(steps, inputs))
    u = x if inputs == 3 else x @ p["encoder.weight"].T + p["encoder.bias"]
    force = u @ (p["b"][0] + 1j * p["b"][1]).T
    want = u * p["d"]
    for t in range(steps):
        for k in range(t + 1):
            position = np.einsum("pij,pj->pi", np.linalg.matrix_power(m, t - k), f)[:, 1] * force[k]
            want[t] += ((p["c"][0] + 1j * p["c"][1]) @ position).real
    got, _ = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach().numpy(), want, rtol=1e-9, atol=1e-9)


def test_without_damping_d_linoss_is_linoss():
    damped, plain = layer_of(CELLS["damped"]), layer_of(CELLS["imex"])
    damped.load_state_dict({**plain.state_dict(), "g": torch.zeros(4)})
    x = torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(damped(x), plain(x), rtol=1e-9, atol=1e-9)


def test_the_energy_of_imex_stays_what_it_was():
    """Without force z^2 + A x^2 - dt A x z stays as it is: positive for dt^2 A < 4, so that z and x are bounded."""
    layer, steps = layer_of(CELLS["imex"]), 5_000
    a, dt = torch.relu(layer.a), torch.sigmoid(layer.log_dt)

    def energy(state):
        return state["z"].square() + a * state["x"].square() - dt * a * state["x"] * state["z"]

    first = {**layer.initial_state(1), "z": torch.ones(1, 2, 4).double(), "x": 2 * torch.ones(1, 2, 4).double()}
    with torch.no_grad():
        _, last = layer(torch.zeros(steps, 1, 3).double(), first)
    assert (energy(first) > 0).all() and not torch.allclose(last["x"], first["x"])
    torch.testing.assert_close(energy(last), energy(first), rtol=1e-9, atol=0)


def moduli(cell):
    """Of the eigenvalues at first."""
    name = "damped" if isinstance(cell, DLinOSS) else cell.options.method
    m, _ = matrices(name, {n: v.detach().numpy() for n, v in layer_of(cell).named_parameters()})
    return np.abs(np.linalg.eigvals(m)), np.angle(np.linalg.eigvals(m))


def test_moduli_at_first():
    np.testing.assert_allclose(moduli(LinOSS())[0], 1, rtol=1e-6)
    values = moduli(LinOSS(LinOSSOptions(method="im")))[0]
    assert math.isclose(-math.log(2) / np.log(np.median(values)), 8, rel_tol=0.2)
    radius, phase = moduli(DLinOSS(DLinOSSOptions(state_size=2000, r_min=0.8, r_max=0.95, max_phase=1.5)))
    assert 0.8 <= radius.min() < 0.801 and 0.949 < radius.max() <= 0.951
    assert math.isclose(np.square(radius).mean(), (0.8**2 + 0.95**2) / 2, rel_tol=0.01)
    assert math.isclose(np.abs(phase).mean(), 0.75, rel_tol=0.05)
    for cell in (LinOSS(LinOSSOptions(state_size=3, method="im", half_life=1000)),
                 DLinOSS(DLinOSSOptions(state_size=3, half_life=1000))):  # fmt: skip
        np.testing.assert_allclose(-math.log(2) / np.log(moduli(cell)[0][:, 0]), [10, 100, 1000], rtol=1e-3)


def test_impossible_options():
    with pytest.raises(ValueError, match="half_life has no effect with method imex, which loses nothing"):
        LinOSSOptions(half_life=100)
    with pytest.raises(ValueError, match=r"r_min is at most r_max, got 0\.9 and 0\.5"):
        DLinOSSOptions(r_max=0.5)
    with pytest.raises(ValueError, match="r_min has no effect with half_life"):
        DLinOSSOptions(r_min=0.5, half_life=100)


@pytest.mark.parametrize("name", CELLS)
def test_sequences(name):
    ragged_chunks_equal_the_whole(CELLS[name])
    gradients_stay_finite(CELLS[name], steps=300)
    outputs_are_recorded(CELLS[name])
