"""The cells that torch.nn has as well: values and gradients in float64, stacked, with and without a given state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from longlag.cells import Stack, layer

T, B, I, H = 11, 3, 4, 5  # noqa: E741  the field's name for the input size


def permuted(packed: Tensor, order: list[int]) -> Tensor:
    """torch packs its gates in another order than we do."""
    chunks = packed.detach().chunk(len(order))
    return torch.cat([chunks[k] for k in order])


def copy_weights(ours: Stack, theirs: nn.RNNBase, order: list[int], split: int | None = None) -> None:
    """Give `ours` the weights of `theirs`; torch's two biases become one, but for the gate `split` (ours)."""
    for k, mine in enumerate(ours.layers):
        values = {n: getattr(theirs, f"{n}_l{k}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        values = {n: permuted(v, order) for n, v in values.items()}
        bias = values["bias_ih"] + values["bias_hh"]
        if split is not None:
            size = len(bias) // len(order)
            rows = slice(split * size, (split + 1) * size)
            bias[rows] = values["bias_ih"][rows]
            mine.bias_hh.data.copy_(values["bias_hh"][rows])
        mine.weight_ih.data.copy_(values["weight_ih"])
        mine.weight_hh.data.copy_(values["weight_hh"])
        mine.bias.data.copy_(bias)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_agrees_with_torch(name: str, depth: int, given: bool) -> None:
    torch.manual_seed(0)
    modules = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
    theirs = modules[name](I, H, depth).double()
    ours = layer(name, I, H, depth).double()
    # torch: lstm i, f, g, o as ours; gru r, z, n as ours
    copy_weights(ours, theirs, list(range({"lstm": 4, "gru": 3, "rnn": 1}[name])), 2 if name == "gru" else None)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    h = torch.randn(depth, B, H, dtype=torch.float64) if given else torch.zeros(depth, B, H, dtype=torch.float64)
    c = torch.randn(depth, B, H, dtype=torch.float64) if given else torch.zeros(depth, B, H, dtype=torch.float64)
    h.requires_grad_(), c.requires_grad_()
    weight = torch.randn(T, B, H, dtype=torch.float64)

    want, last = theirs(x, (h, c) if name == "lstm" else h)
    states = last if name == "lstm" else (last,)
    (want.mul(weight).sum() + sum(s.square().sum() for s in states)).backward()
    names = ("h", "c") if name == "lstm" else ("h",)
    inputs = [x, h, c][: 1 + len(names)]
    wanted = [v.grad.clone() for v in inputs]
    weights_wanted = [theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad]
    for v in inputs:
        v.grad = None

    start = tuple(dict(zip(names, (h[k], c[k]), strict=False)) for k in range(depth)) if given else None
    got, final = ours(x, start)
    (got.mul(weight).sum() + sum(s.square().sum() for layer_state in final for s in layer_state.values())).backward()
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
    for k in range(depth):
        for state, all_layers in zip(names, states, strict=True):
            torch.testing.assert_close(final[k][state], all_layers[k], rtol=1e-10, atol=1e-10)
    for v, gradient in zip(inputs if given else inputs[:1], wanted, strict=False):
        torch.testing.assert_close(v.grad, gradient, rtol=1e-10, atol=1e-10)
    mine = ours.layers[0]
    for gradient, parameter in zip(weights_wanted, (mine.weight_ih, mine.weight_hh), strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("rnn", {}, lambda i, h: h * (i + h + 1)),
        ("irnn", {}, lambda i, h: h * (i + h + 1)),
        ("lstm", {}, lambda i, h: 4 * h * (i + h + 1)),
        ("gru", {"reset": "before"}, lambda i, h: 3 * h * (i + h + 1)),
        ("gru", {"reset": "after"}, lambda i, h: 3 * h * (i + h + 1) + h),
    ],
)
def test_parameter_count(name: str, options: dict[str, str], formula) -> None:
    made: Stack = layer(name, 7, 12, **options)
    assert sum(p.numel() for p in made.parameters()) == formula(7, 12)
