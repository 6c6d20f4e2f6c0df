"""The LSTM family: ONNX Runtime, hand-written loops, the carousel, the papers' weight counts and biases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.stats
import torch
from pydantic import ValidationError
from torch import Tensor

from longlag.cells import lstm_presets as presets
from longlag.cells.base import GatedLayer, rows
from longlag.cells.lstm import LSTM
from longlag.errors import UserError
from longlag.kernels import StateGradients
from tests.cells import onnx_oracle

T, B, I, H = 9, 3, 4, 5  # noqa: E741

VARIANTS = {
    "lstm": LSTM,
    "lstm-1997": presets.LSTM1997,
    "lstm-peephole": presets.PeepholeLSTM,
    "lstm-nig": presets.NoInputGate,
    "lstm-nfg": presets.NoForgetGate,
    "lstm-nog": presets.NoOutputGate,
    "lstm-niaf": presets.NoInputActivation,
    "lstm-noaf": presets.NoOutputActivation,
    "lstm-np": presets.NoPeepholes,
    "lstm-cifg": presets.CoupledGates,
    "lstm-fgr": presets.FullGateRecurrence,
}


def build(kind: type[LSTM], inputs: int = I, hidden: int = H, seed: int = 0, **options: Any) -> GatedLayer:
    cell = kind(kind.Options.model_validate(options))
    layer = cell.layer(inputs, hidden, torch.Generator().manual_seed(seed))
    layer.kernel = "plain"
    return layer


def busy(layer: GatedLayer) -> GatedLayer:
    """Weights large enough for every part to matter."""
    generator = torch.Generator().manual_seed(7)
    for parameter in layer.parameters():
        parameter.data.normal_(0, 0.6, generator=generator)
    return layer


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def onnx(layer: GatedLayer, x: Tensor) -> Tensor:
    """The same layer as an ONNX LSTM; a gate that is missing is one held open by a large bias."""
    assert isinstance(layer.cell, LSTM)
    options, present = layer.cell.options, layer.layout.biases
    weights: list[Tensor] = []
    for packed in (layer.weight_ih, layer.weight_hh, layer.bias):
        parts = {}
        for name in "iofz":
            if name in present:
                parts[name] = rows(present, packed, name)
            else:
                size = (H, *packed.shape[1:])
                parts[name] = torch.full(size, 100.0) if packed.dim() == 1 else torch.zeros(size)
        weights.append(torch.cat([parts[name] for name in "iofz"]))
    weights[2] = torch.cat([weights[2], torch.zeros_like(weights[2])])
    zero = torch.zeros(H)
    peepholes = torch.cat([getattr(layer, f"peephole_{name}", zero) for name in "iof"])
    names = {"tanh": "Tanh", "linear": "Affine", "logistic2": "ScaledTanh", "logistic1": "ScaledTanh"}
    alphas = {"linear": 1.0, "logistic2": 2.0, "logistic1": 1.0}
    betas = {"linear": 0.0, "logistic2": 0.5, "logistic1": 0.5}
    used = (options.input_activation, options.output_activation)
    return onnx_oracle.run(
        "LSTM",
        x,
        H,
        [*weights, None, None, None, peepholes],
        input_forget=int(options.forget_gate == "coupled"),
        activations=["Sigmoid", *(names[name] for name in used)],
        activation_alpha=[alphas[name] for name in used if name in alphas],
        activation_beta=[betas[name] for name in used if name in betas],
    )


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "lstm-fgr"])
def test_agrees_with_onnx_runtime(name: str) -> None:
    layer = busy(build(VARIANTS[name]))
    x = numbers(T, B, I)
    torch.testing.assert_close(layer(x)[0].detach(), onnx(layer, x), rtol=1e-4, atol=1e-5)


def test_onnx_oracle_sees_the_peepholes() -> None:
    layer = busy(build(presets.PeepholeLSTM))
    x = numbers(T, B, I)
    before = onnx(layer, x)
    for name in ("peephole_i", "peephole_f", "peephole_o"):
        kept = getattr(layer, name).data.clone()
        getattr(layer, name).data.zero_()
        assert float((onnx(layer, x) - before).abs().max()) > 1e-2
        getattr(layer, name).data.copy_(kept)


def test_full_gate_recurrence_equals_a_loop_by_hand() -> None:
    layer = busy(build(presets.FullGateRecurrence).double())
    x = numbers(T, B, I).double()
    W, b = layer.weight_ih.chunk(4), layer.bias.chunk(4)
    U = [matrix.chunk(4, 1) for matrix in layer.weight_hh.chunk(3)]  # rows i, f, o; columns h, i, f, o
    h = c = i = f = o = torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for x_t in x:
        old = (h, i, f, o)
        z = torch.tanh(x_t @ W[2].mT + h @ layer.weight_hh_2.mT + b[2])
        i = torch.sigmoid(
            x_t @ W[0].mT + sum(s @ m.mT for s, m in zip(old, U[0], strict=True)) + layer.peephole_i * c + b[0]
        )
        f = torch.sigmoid(
            x_t @ W[1].mT + sum(s @ m.mT for s, m in zip(old, U[1], strict=True)) + layer.peephole_f * c + b[1]
        )
        c = f * c + i * z
        o = torch.sigmoid(
            x_t @ W[3].mT + sum(s @ m.mT for s, m in zip(old, U[2], strict=True)) + layer.peephole_o * c + b[3]
        )
        h = o * torch.tanh(c)
        outputs.append(h)
    torch.testing.assert_close(layer(x)[0], torch.stack(outputs), rtol=1e-12, atol=1e-12)


def test_carousel_holds_its_state_and_its_error() -> None:
    """Input gate shut, gates blind to h: c stays what it is, and dL/dc is the same at every step."""
    layer = build(presets.LSTM1997).double()
    layer.weight_hh.data.zero_()
    layer.weight_ih.data.zero_()
    rows(("i", "z", "o"), layer.bias.data, "i").fill_(-800)
    start = {"h": torch.zeros(B, H).double(), "c": numbers(B, H).double()}
    record = StateGradients()
    outputs, final = layer(numbers(200, B, I).double().requires_grad_(), start, None, record)
    assert torch.equal(final["c"], start["c"])
    outputs[-1].sum().backward()
    norms = record.squares["c"].sum(1)
    assert float(norms[0]) > 0 and torch.equal(norms, norms[-1:].expand_as(norms))


@pytest.mark.parametrize("recurrence", ["none", "gates", "all"])
def test_truncated_gradient_flows_through_the_carousel_alone(recurrence: str) -> None:
    whole = busy(build(presets.LSTM1997, gate_recurrence=recurrence)).double()
    cut = busy(build(presets.LSTM1997, gate_recurrence=recurrence, truncated=True)).double()
    cut.load_state_dict(whole.state_dict())
    x = numbers(T, B, I).double()
    torch.testing.assert_close(cut(x)[0], whole(x)[0])
    start = {name: value.requires_grad_() for name, value in cut.initial_state(B).items()}
    _, final = cut(x, start)
    gradients = torch.autograd.grad(final["c"].sum(), list(start.values()), allow_unused=True)
    for name, gradient in zip(start, gradients, strict=True):
        if name == "c":
            assert torch.equal(gradient, torch.ones_like(gradient))
        else:  # of the step that reads them, not of any later one
            assert gradient is None or name != "h"


def readout(cells: int, outputs: int) -> int:
    return outputs * (cells + 1)


@pytest.mark.parametrize(
    ("inputs", "blocks", "outputs", "weights"),
    [(2, 2, 1, 93), (8, 2, 4, 156), (8, 3, 8, 308)],
    ids=["adding", "temporal order a", "temporal order b"],
)
def test_weight_counts_of_1997(inputs: int, blocks: int, outputs: int, weights: int) -> None:
    layer = build(presets.LSTM1997, inputs, 2 * blocks, gate_recurrence="all", block_size=2)
    assert sum(p.numel() for p in layer.parameters()) + readout(2 * blocks, outputs) == weights


def test_cells_of_a_block_share_their_gates() -> None:
    layer = busy(build(presets.LSTM1997, I, 6, gate_recurrence="all", block_size=3)).double()
    x = numbers(T, B, I).double()
    W_i, W_z, W_o = layer.weight_ih.split([2, 6, 2])
    U_i, U_z, U_o = layer.weight_hh.split([2, 6, 2])
    b_i, b_z, b_o = layer.bias.split([2, 6, 2])
    h = c = torch.zeros(B, 6, dtype=torch.float64)
    i = o = torch.zeros(B, 2, dtype=torch.float64)
    for x_t in x:
        s = torch.cat([h, i, o], 1)
        i, o = torch.sigmoid(x_t @ W_i.mT + s @ U_i.mT + b_i), torch.sigmoid(x_t @ W_o.mT + s @ U_o.mT + b_o)
        c = c + i.repeat_interleave(3, 1) * (2 * torch.tanh((x_t @ W_z.mT + s @ U_z.mT + b_z) / 2))
        h = o.repeat_interleave(3, 1) * torch.tanh(c / 2)
    torch.testing.assert_close(layer(x)[1]["h"], h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"peepholes": True, "forget_gate": "coupled", "forget_bias": 1.0},
        {"gate_recurrence": "all"},
        {"gate_recurrence": "gates", "input_gate": False},
        {"block_size": 2},
        {"block_size": 4, "gate_recurrence": "gates", "truncated": True},
        {"block_size": 2, "gate_recurrence": "all", "output_gate": False},
    ],
    ids=str,
)
def test_formula_counts_every_switch(options: dict[str, Any]) -> None:
    layer = build(LSTM, 3, 8, **options)
    stated = eval(layer.cell.formula, {"I": 3, "H": 8})
    assert sum(p.numel() for p in layer.parameters()) == stated
    assert torch.isfinite(layer(numbers(T, B, 3))[0]).all()


def test_chrono_biases_are_log_uniform_spans() -> None:
    layer = build(LSTM, 1, 600, chrono_max=750)
    bias = {name: rows(("i", "f", "z", "o"), layer.bias.detach(), name) for name in "ifzo"}
    spans = bias["f"].exp()
    assert scipy.stats.kstest(spans.numpy(), scipy.stats.uniform(1, 748).cdf).pvalue > 0.01
    assert torch.equal(bias["i"], -bias["f"])
    assert float(bias["o"].abs().max()) <= 1 / math.sqrt(600)
    coupled = build(presets.CoupledGates, 1, 600, chrono_max=750)
    span = (-rows(("i", "z", "o"), coupled.bias.detach(), "i")).exp()
    assert scipy.stats.kstest(span.numpy(), scipy.stats.uniform(1, 748).cdf).pvalue > 0.01


def test_biases_block_by_block() -> None:
    layer = build(presets.LSTM1997, 2, 4, input_bias=[-3, -6], block_size=2)
    assert rows(("i", "o"), layer.bias[[0, 1, 6, 7]], "i").tolist() == [-3, -6]
    layer = build(LSTM, 2, 8, forget_bias=(0.5, 1, 1.5, 2), input_bias=-1, output_bias=[-2, -4])
    bias = {name: rows(("i", "f", "z", "o"), layer.bias, name).tolist() for name in "ifzo"}
    assert bias["f"] == [0.5, 0.5, 1, 1, 1.5, 1.5, 2, 2]
    assert bias["i"] == [-1] * 8 and bias["o"] == [-2] * 4 + [-4] * 4
    with pytest.raises(UserError, match="forget_bias: 3 values for 8 units"):
        build(LSTM, 2, 8, forget_bias=[1, 2, 3])
    with pytest.raises(UserError, match="block_size 3 does not divide the 8 units"):
        build(LSTM, 2, 8, block_size=3)


def test_initial_weights_are_the_papers() -> None:
    first = build(presets.LSTM1997, 40, 60)
    everything = torch.cat([p.detach().flatten() for p in first.parameters()])
    assert 0.0999 < float(everything.abs().max()) <= 0.1
    for name in ("lstm-peephole", "lstm-nig", "lstm-cifg", "lstm-np", "lstm-fgr"):
        layer = build(VARIANTS[name], 40, 60)
        assert float(layer.weight_hh.data.std()) == pytest.approx(0.1, rel=0.03), name
        assert not layer.bias.any(), name
    assert torch.equal(rows(("i", "f", "z", "o"), build(LSTM).bias, "f"), torch.ones(H))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forget_gate": "none", "forget_bias": 2}, "forget_bias has no effect without a forget gate"),
        ({"forget_gate": "coupled", "input_gate": False}, "needs input_gate"),
        ({"output_gate": False, "output_bias": 1}, "output_bias has no effect"),
        ({"chrono_max": 100, "forget_bias": 3}, "chrono_max, which draws that bias"),
        ({"std": 0.2}, "unless init is 'normal'"),
        ({"block_size": 2, "peepholes": True}, "neither peepholes"),
        ({"chrono_max": 2}, "greater than 2"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build(LSTM, **options)
