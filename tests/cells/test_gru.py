"""GRU, MGU, MUT1-3 and MinimalRNN against ONNX Runtime and loops written from the papers' equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor

from longlag.cells.base import GatedCell, GatedLayer, rows
from longlag.cells.gru import GRU, MGU
from longlag.cells.minimal import MinimalRNN
from longlag.cells.mut import MUT1, MUT2, MUT3
from tests.cells import onnx_oracle

T, B, H = 9, 3, 5

s, tanh = torch.sigmoid, torch.tanh


def build(kind: type[GatedCell], inputs: int, hidden: int = H, **options: Any) -> GatedLayer:
    layer = kind(kind.Options.model_validate(options)).layer(inputs, hidden, torch.Generator().manual_seed(0))
    layer.kernel = "plain"
    return layer


def busy(layer: GatedLayer) -> GatedLayer:
    generator = torch.Generator().manual_seed(7)
    for parameter in layer.parameters():
        parameter.data.normal_(0, 0.6, generator=generator)
    return layer


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru_agrees_with_onnx_runtime(reset: str) -> None:
    layer = busy(build(GRU, 4, reset=reset))
    x = numbers(T, B, 4)

    def zrn(packed: Tensor, names: str = "rzn") -> Tensor:
        return torch.cat([rows(tuple(names), packed, name) for name in "zrn"])

    if reset == "after":
        matrix, late = layer.weight_hh, layer.bias_hh
    else:
        matrix, late = torch.cat([layer.weight_hh, layer.weight_hh_2]), torch.zeros(H)
    bias = torch.cat([zrn(layer.bias), torch.zeros(2 * H), late])
    want = onnx_oracle.run(
        "GRU", x, H, [zrn(layer.weight_ih), zrn(matrix), bias], linear_before_reset=int(reset == "after")
    )
    torch.testing.assert_close(layer(x)[0].detach(), want, rtol=1e-4, atol=1e-5)


def mgu(p: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    (W_f, W_n), (b_f, b_n) = p["weight_ih"].chunk(2), p["bias"].chunk(2)
    f = s(x @ W_f.mT + h @ p["weight_hh"].mT + b_f)
    return (1 - f) * h + f * tanh(x @ W_n.mT + (f * h) @ p["weight_hh_2"].mT + b_n)


def minimal(p: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    b_z, b_u = p["bias"].chunk(2)
    z = tanh(x @ p["weight_ih"].mT + b_z)
    u = s(h @ p["weight_hh"].mT + z @ p["weight_hh_2"].mT + b_u)
    return u * h + (1 - u) * z


def mut1(p: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    x = x @ p["embedding"].mT if "embedding" in p else x
    (W_z, W_r), (b_z, b_r, b_n) = p["weight_ih"].chunk(2), p["bias"].chunk(3)
    z, r = s(x @ W_z.mT + b_z), s(x @ W_r.mT + h @ p["weight_hh"].mT + b_r)
    return tanh((r * h) @ p["weight_hh_2"].mT + tanh(x) + b_n) * z + h * (1 - z)


def mut2(p: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    x = x @ p["embedding"].mT if "embedding" in p else x
    (W_z, W_n), (b_z, b_r, b_n) = p["weight_ih"].chunk(2), p["bias"].chunk(3)
    U_z, U_r = p["weight_hh"].chunk(2)
    z, r = s(x @ W_z.mT + h @ U_z.mT + b_z), s(x + h @ U_r.mT + b_r)
    return tanh((r * h) @ p["weight_hh_2"].mT + x @ W_n.mT + b_n) * z + h * (1 - z)


def mut3(p: dict[str, Tensor], x: Tensor, h: Tensor) -> Tensor:
    (W_z, W_r, W_n), (b_z, b_r, b_n) = p["weight_ih"].chunk(3), p["bias"].chunk(3)
    U_z, U_r, U_n = p["weight_hh"], p["weight_hh_2"], p["weight_hh_3"]
    z, r = s(x @ W_z.mT + tanh(h) @ U_z.mT + b_z), s(x @ W_r.mT + h @ U_r.mT + b_r)
    return tanh((r * h) @ U_n.mT + x @ W_n.mT + b_n) * z + h * (1 - z)


@pytest.mark.parametrize("inputs", [2, H])
@pytest.mark.parametrize(
    ("kind", "step"), [(MGU, mgu), (MinimalRNN, minimal), (MUT1, mut1), (MUT2, mut2), (MUT3, mut3)]
)
def test_equations(
    kind: type[GatedCell], step: Callable[[dict[str, Tensor], Tensor, Tensor], Tensor], inputs: int
) -> None:
    layer = busy(build(kind, inputs)).double()
    x = numbers(T, B, inputs).double()
    h = torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for x_t in x:
        h = step(dict(layer.named_parameters()), x_t, h)
        outputs.append(h)
    torch.testing.assert_close(layer(x)[0], torch.stack(outputs), rtol=1e-12, atol=1e-12)
    stated = eval(layer.cell.formula, {"I": inputs, "H": H})
    assert sum(p.numel() for p in layer.parameters()) == stated


def test_gru_chrono_biases() -> None:
    layer = build(GRU, 1, 500, chrono_max=200)
    spans = rows(("r", "z", "n"), layer.bias.detach(), "z").exp()
    assert scipy.stats.kstest(spans.numpy(), scipy.stats.uniform(1, 198).cdf).pvalue > 0.01


@pytest.mark.parametrize("kind", [GRU, MGU, MUT1, MUT2, MUT3, MinimalRNN])
def test_orthogonal_initialisation_is_per_gate(kind: type[GatedCell]) -> None:
    layer = build(kind, 3, 8, init="orthogonal")
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            for block in parameter.detach().split(8):
                torch.testing.assert_close(block @ block.mT, torch.eye(8), rtol=0, atol=1e-5)
        elif name.startswith("bias"):
            assert not parameter.any()
