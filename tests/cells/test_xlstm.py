"""sLSTM against its equations without the stabiliser, and where those would overflow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from longlag.cells.base import GatedLayer, rows
from longlag.cells.xlstm import SLSTM, SLSTMOptions
from longlag.errors import UserError

T, B, I, H = 12, 3, 4, 6  # noqa: E741


def build(**options: Any) -> GatedLayer:
    layer = SLSTM(SLSTMOptions.model_validate(options)).layer(I, H, torch.Generator().manual_seed(0))
    layer.kernel = "plain"
    return layer


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
@pytest.mark.parametrize("heads", [1, 3])
def test_stabiliser_cancels_out(forget: str, heads: int) -> None:
    layer = build(forget_gate=forget, heads=heads).double()
    for parameter in layer.parameters():
        parameter.data.copy_(0.5 * numbers(*parameter.shape))
    x, size = numbers(T, B, I), H // heads
    h = c = n = torch.zeros(B, H, dtype=torch.float64)
    R = [torch.block_diag(*gate.split(size)) for gate in layer.weight_hh.chunk(4)]
    outputs = []
    for x_t in x:
        W, b = layer.weight_ih.chunk(4), layer.bias.chunk(4)
        i, f, z, o = (x_t @ W[k].mT + h @ R[k].mT + b[k] for k in range(4))
        f = torch.sigmoid(f) if forget == "sigmoid" else torch.exp(f)
        c = f * c + torch.exp(i) * torch.tanh(z)
        n = f * n + torch.exp(i)
        h = torch.sigmoid(o) * c / n
        outputs.append(h)
    torch.testing.assert_close(layer(x)[0], torch.stack(outputs), rtol=1e-10, atol=1e-10)
    assert sum(p.numel() for p in layer.parameters()) == eval(layer.cell.formula, {"I": I, "H": H})


@pytest.mark.parametrize("level", [-2000.0, 2000.0])
def test_large_input_gates_stay_finite(level: float) -> None:
    layer = build()
    rows(("i", "f", "z", "o"), layer.bias.data, "i").fill_(level)
    x = numbers(T, B, I).float().requires_grad_()
    outputs, final = layer(x)
    outputs.sum().backward()
    assert outputs.isfinite().all() and outputs.abs().max() <= 1 and outputs.abs().max() > 1e-3
    assert x.grad.isfinite().all() and (final["n"] >= 1).all()


def test_initial_biases_are_those_of_the_authors() -> None:
    layer = build(heads=2)
    bias = {name: rows(("i", "f", "z", "o"), layer.bias.data, name) for name in "ifzo"}
    head = [5.0, 5 - 12 * 0.5**0.3, -7.0]
    torch.testing.assert_close(bias["f"], torch.tensor(head + head))
    assert not any(bias[name].any() for name in "izo") and not layer.weight_hh.any()
    linear = build(forget_bias="linear", recurrent_init="uniform")
    assert rows(("i", "f", "z", "o"), linear.bias.data, "f").tolist() == pytest.approx([3, 3.6, 4.2, 4.8, 5.4, 6])
    assert 0 < float(linear.weight_hh.data.abs().max()) <= H**-0.5
    with pytest.raises(UserError, match="4 heads do not divide the 6 units"):
        build(heads=4)
