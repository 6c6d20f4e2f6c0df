"""LEM: a loop in NumPy, half-lives at the gates' middle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longlag.cells.lem import LEM, LEMOptions
from longlag.probes.rollout import CapturedInputs
from longlag.probes.saturation import gates

I, H = 3, 5  # noqa: E741


@pytest.mark.parametrize("options", [LEMOptions(dt=0.3), LEMOptions(half_life=64)])
def test_equals_the_equations(options: LEMOptions) -> None:
    layer = LEM(options).layer(I, H, torch.Generator().manual_seed(0)).double()
    layer.kernel = "plain"
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    w, b = p["weight_ih"].reshape(4, H, I), p["bias"].reshape(4, H)
    u_p, u_q, u_z = p["weight_hh"].reshape(3, H, H)
    dt = 0.3 if options.half_life is None else 2 - 2 * 0.5 ** (1 / 64 ** (np.arange(H) / (H - 1)))
    x = np.random.default_rng(0).normal(size=(20, I))
    y = z = np.zeros(H)
    want = []
    for x_t in x:
        p_t = dt / (1 + np.exp(-(w[0] @ x_t + u_p @ y + b[0])))
        q_t = dt / (1 + np.exp(-(w[1] @ x_t + u_q @ y + b[1])))
        z = (1 - q_t) * z + q_t * np.tanh(w[2] @ x_t + u_z @ y + b[2])
        y = (1 - p_t) * y + p_t * np.tanh(w[3] @ x_t + p["weight_hh_2"] @ z + b[3])
        want.append(y)
    got, final = layer(torch.from_numpy(x).unsqueeze(1))
    np.testing.assert_allclose(got[:, 0].detach(), want, rtol=1e-6)  # the constants dt are kept in float32
    np.testing.assert_allclose(final["z"][0].detach(), z, rtol=1e-6)


def test_half_life_is_seen_by_the_probe_of_gates() -> None:
    layer = LEM(LEMOptions(half_life=400)).layer(I, H).double().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.zero_()
    found = gates(CapturedInputs(layer, torch.zeros(2, 1, I).double(), layer.initial_state(1), None))
    assert found is not None and set(found.sigmoid) == {"p", "q"} and set(found.tanh) == {"z", "y"}
    for state in "yz":
        _, middle, _ = found.retention[state]
        assert -1 / np.log2(1 - 1 / middle) == pytest.approx(400**0.5, rel=1e-5)
    with pytest.raises(ValueError, match="dt has no effect with half_life"):
        LEMOptions(dt=0.1, half_life=3)
