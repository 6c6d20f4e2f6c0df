"""The causal Transformer layer: torch's own attention, rotations as complex numbers, the bounded context."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from longlag.cells import Stack, transformer
from longlag.cells.attention import rotate
from longlag.cells.transformer import Transformer, TransformerLayer, TransformerOptions
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def build(inputs: int, hidden: int, **options: object) -> TransformerLayer:
    cell = Transformer(TransformerOptions.model_validate(options))
    layer = cell.layer(inputs, hidden, torch.Generator().manual_seed(0)).double()
    assert isinstance(layer, TransformerLayer)
    return layer


@pytest.mark.parametrize("context", [100, 4])
def test_equals_torch_attention(context: int) -> None:
    layer = build(8, 8, heads=2, context=context, positions="none")
    theirs = nn.MultiheadAttention(8, 2).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(layer.project.weight)
        theirs.in_proj_bias.copy_(layer.project.bias.normal_())
        theirs.out_proj.weight.copy_(layer.out.weight)
        theirs.out_proj.bias.copy_(layer.out.bias)
    x = torch.randn(12, 3, 8, dtype=torch.float64)
    steps = torch.arange(12)
    hidden = (steps > steps[:, None]) | (steps < steps[:, None] - context)
    normed = F.layer_norm(x, (8,))
    a = x + theirs(normed, normed, normed, attn_mask=hidden, need_weights=False)[0]
    want = a + layer.narrow(F.gelu(layer.widen(F.layer_norm(a, (8,)))))
    torch.testing.assert_close(layer(x)[0], want, rtol=1e-10, atol=1e-10)


def test_rotary_positions_are_complex_rotations() -> None:
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    turned = rotate(x, 3).numpy()
    z = x.numpy()[..., 0::2] + 1j * x.numpy()[..., 1::2]
    rates = 10000.0 ** (-2 * np.arange(3) / 6)
    want = z * np.exp(1j * np.arange(3, 8)[:, None] * rates)
    np.testing.assert_allclose(turned[..., 0::2], want.real, atol=1e-12)
    np.testing.assert_allclose(turned[..., 1::2], want.imag, atol=1e-12)


@pytest.mark.parametrize("context", [3, 8])
def test_equals_attention_written_out(context: int) -> None:
    """Rotary positions, one head, sums over steps spelled out; all steps in the context, or some."""
    layer = build(4, 4, heads=1, context=context)
    x = torch.randn(9, 1, 4, dtype=torch.float64)
    q, k, v = layer.project(F.layer_norm(x, (4,)))[:, 0].chunk(3, -1)
    rows: list[Tensor] = []
    for t in range(9):
        span = range(max(0, t - context), t + 1)
        turned = rotate(q[t : t + 1], t)[0]
        scores = torch.stack([turned @ rotate(k[j : j + 1], j)[0] / 2 for j in span])
        rows.append(sum(w * v[j] for w, j in zip(scores.softmax(0), span, strict=True)))
    a = x[:, 0] + layer.out(torch.stack(rows))
    want = a + layer.narrow(F.gelu(layer.widen(F.layer_norm(a, (4,)))))
    torch.testing.assert_close(layer(x)[0][:, 0], want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("context", [2, 7, 30])
def test_blocks_of_queries_change_nothing(context: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = build(3, 4, context=context)
    x = torch.randn(25, 2, 3, dtype=torch.float64)
    whole, state = layer(x)
    more, _ = layer(x, state)
    monkeypatch.setattr(transformer, "BLOCK", 4)
    blocks, state = layer(x)
    torch.testing.assert_close(blocks, whole, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer(x, state)[0], more, rtol=1e-10, atol=1e-10)


def test_context_ends_where_it_says() -> None:
    layer = build(2, 4, context=5)
    x = torch.randn(12, 1, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0][10].square().sum(), x)
    reached = gradient.abs().sum((1, 2)).nonzero().flatten()
    assert reached.tolist() == list(range(5, 11))


def test_initialisation() -> None:
    layer = build(2, 64, heads=4)
    for weight, fans in ((layer.project.weight, 128), (layer.widen.weight, 320), (layer.narrow.weight, 320)):
        bound = (6 / fans) ** 0.5
        assert 0.99 * bound < weight.abs().max() <= bound
    assert not any(m.bias.any() for m in (layer.project, layer.out, layer.widen, layer.narrow))


def test_same_seed_same_dropout() -> None:
    def run(training: bool) -> Tensor:
        cell = Transformer(TransformerOptions(context=4, dropout=0.5))
        return Stack(cell, 2, 8, 1, torch.Generator().manual_seed(0)).train(training)(torch.ones(5, 2, 2))[0]

    assert torch.equal(run(True), run(True)) and not torch.equal(run(True), run(False))


def test_initialisation_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build(2, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_sequences() -> None:
    ragged_chunks_equal_the_whole(Transformer(TransformerOptions(context=3)))
    ragged_chunks_equal_the_whole(Transformer(TransformerOptions(context=64, heads=1)))
    outputs_are_recorded(Transformer(TransformerOptions(context=3)))
    gradients_stay_finite(Transformer(TransformerOptions(context=300)))
