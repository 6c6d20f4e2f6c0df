"""coRNN and UnICORNN: loops in NumPy, what an oscillator without force conserves or loses, the way back in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from longlag.cells.base import GatedCell, GatedLayer
from longlag.cells.oscillators import CoRNN, CoRNNOptions, UnICORNN, UnICORNNOptions

I, H = 3, 5  # noqa: E741
Array = NDArray[np.float64]


def build(cell: GatedCell, inputs: int = I, hidden: int = H) -> GatedLayer:
    return cell.layer(inputs, hidden, torch.Generator().manual_seed(0)).double()


def run(layer: GatedLayer, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
    """``y`` and ``z`` after every step of one sequence."""
    state = {"y": torch.from_numpy(y).unsqueeze(0), "z": torch.from_numpy(z).unsqueeze(0)}
    found = []
    for x_t in torch.from_numpy(x).unsqueeze(1):
        _, state = layer.step(x_t, state)
        found.append(torch.cat([state["y"], state["z"]]).detach().numpy())
    return tuple(np.stack(found).swapaxes(0, 1))


def numbers(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape)


def test_cornn_equals_the_equations() -> None:
    layer = build(CoRNN(CoRNNOptions(dt=0.1, gamma=3, epsilon=2)))
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    x, (y, z) = numbers(20, I), numbers(2, H)
    got = run(layer, x, y, z)
    for t, x_t in enumerate(x):
        force = np.tanh(p["weight_ih"] @ x_t + p["weight_hh"] @ np.concatenate([y, z]) + p["bias"])
        z = z + 0.1 * (force - 3 * y - 2 * z)
        y = y + 0.1 * z
        np.testing.assert_allclose([got[0][t], got[1][t]], [y, z], rtol=1e-12)
    bound = (I + 2 * H) ** -0.5
    assert all(0.7 * bound < np.abs(v).max() <= bound for v in p.values())


def test_unicornn_equals_the_equations_and_can_be_undone() -> None:
    layer = build(UnICORNN(UnICORNNOptions(dt=0.3, alpha=2)))
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    x, start = numbers(30, I), numbers(2, H)
    d = 0.3 / (1 + np.exp(-p["c"]))
    y, z = start
    got = run(layer, x, y, z)
    for t, x_t in enumerate(x):
        z = z - d * (np.tanh(p["w"] * y + p["weight_ih"] @ x_t + p["bias"]) + 2 * y)
        y = y + d * z
        np.testing.assert_allclose([got[0][t], got[1][t]], [y, z], rtol=1e-12)
    y, z = got[0][-1], got[1][-1]
    for x_t in x[::-1]:
        y = y - d * z
        z = z + d * (np.tanh(p["w"] * y + p["weight_ih"] @ x_t + p["bias"]) + 2 * y)
    np.testing.assert_allclose([y, z], start, rtol=1e-10)


@pytest.mark.parametrize("gamma", [0.0, 7.0])
def test_without_force_and_damping_an_oscillator_loses_nothing(gamma: float) -> None:
    """z^2 + gamma y^2 - d gamma z y is the same at every step; without gamma too, z is."""
    undamped = build(CoRNN(CoRNNOptions(dt=0.2, gamma=gamma, epsilon=0)))
    free = build(UnICORNN(UnICORNNOptions(dt=0.2, alpha=gamma)))
    for layer in (undamped, free):
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.zero_()
        step = 0.2 if layer is undamped else 0.1
        y, z = run(layer, numbers(200, I), *numbers(2, H))
        energy = z**2 + gamma * y**2 - step * gamma * z * y
        np.testing.assert_allclose(energy, np.broadcast_to(energy[0], energy.shape), rtol=1e-10)
        if gamma == 0:
            np.testing.assert_allclose(y[-1] - y[0], 199 * step * z[0])


def test_half_lives_of_what_is_not_driven() -> None:
    options = CoRNNOptions(half_life=1000)
    layer = build(CoRNN(options), hidden=6)
    assert "epsilon" not in dict(layer.named_parameters())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    size = layer.hidden_size
    columns = [run(layer, numbers(1, I), y * np.ones(size), (1 - y) * np.ones(size)) for y in (1, 0)]
    matrices = np.array([[c[0][0] for c in columns], [c[1][0] for c in columns]]).transpose(2, 0, 1)
    lives = -np.log(2) / np.log(np.abs(np.linalg.eigvals(matrices)))
    assert lives[-1] == pytest.approx([1000, 1000], rel=1e-4)
    assert lives[0, 0] == pytest.approx(options.fastest, rel=1e-2)  # a double eigenvalue: half of the digits
    ratios = lives[2:] / lives[1:-1]
    np.testing.assert_allclose(ratios, (1000 / options.fastest) ** 0.2, rtol=1e-4)


def test_a_half_life_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ValueError, match=r"half_life is above the 6.58 steps of critical damping.*, got 6"):
        CoRNNOptions(dt=0.1, gamma=1, half_life=6)
    with pytest.raises(ValueError, match=r"half_life needs dt\^2 gamma below 2.25, got 4"):
        CoRNNOptions(dt=1, gamma=4, half_life=6)
