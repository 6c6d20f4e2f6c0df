"""The mLSTM and sLSTM of the PyPI package xlstm, its authors' own: values and gradients, where it is installed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from longlag.cells.mlstm import MLSTM, MLSTMOptions
from longlag.cells.xlstm import SLSTM, SLSTMOptions

pytest.importorskip("xlstm", reason="pip install xlstm")

T, B, H, HEADS = 9, 3, 8, 2


def draw(*shape: int) -> Tensor:
    return 0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def same(ours: Tensor, theirs: Tensor, x: Tensor, mine: Tensor, their: Tensor) -> None:
    """Outputs, and the gradients of a weighted sum of them by the inputs and by one parameter."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weight = draw(*ours.shape)
    got = torch.autograd.grad((ours * weight).sum(), [x, mine])
    torch.testing.assert_close(got, torch.autograd.grad((theirs * weight).sum(), [x, their]), rtol=1e-8, atol=1e-8)


def test_mlstm() -> None:
    """Their widths are multiples of 64; their norm's weight is stored less 1."""
    from xlstm import mLSTMLayer, mLSTMLayerConfig

    theirs = mLSTMLayer(mLSTMLayerConfig(embedding_dim=H, num_heads=HEADS, context_length=T)).double()
    for parameter in theirs.parameters():
        parameter.data.copy_(draw(*parameter.shape))
    layer = MLSTM(MLSTMOptions(heads=HEADS, expand=8)).layer(H, H).double()
    gates, projections = theirs.mlstm_cell, (theirs.q_proj, theirs.k_proj, theirs.v_proj)
    with torch.no_grad():
        layer.up.copy_(theirs.proj_up.weight)
        layer.convolution.weight.copy_(theirs.conv1d.conv.weight[:, 0].mT.flip(0))
        layer.convolution.bias.copy_(theirs.conv1d.conv.bias)
        layer.blocks.copy_(torch.stack([part.weight for part in projections]))
        layer.gate_weights.copy_(torch.cat([gates.igate.weight, gates.fgate.weight]))
        layer.gate_biases.copy_(torch.cat([gates.igate.bias, gates.fgate.bias]))
        layer.norm_weight.copy_(1 + gates.outnorm.weight)
        layer.skip.copy_(theirs.learnable_skip)
        layer.down.copy_(theirs.proj_down.weight)
    x = draw(T, B, H).requires_grad_()
    outputs = theirs(x.transpose(0, 1)).transpose(0, 1)
    same(layer(x)[0], outputs, x, layer.up, theirs.proj_up.weight)


def test_slstm() -> None:
    from xlstm.blocks.slstm.src.vanilla import slstm_forward, slstm_pointwise_function_registry

    layer = SLSTM(SLSTMOptions(heads=HEADS)).layer(H, H).double()
    for parameter in layer.parameters():
        parameter.data.copy_(draw(*parameter.shape))
    x, size = draw(T, B, H).requires_grad_(), H // HEADS
    recurrent = layer.weight_hh.view(4, HEADS, size, size).transpose(0, 1).reshape(HEADS, 4 * size, size)
    states, _, _ = slstm_forward(
        x @ layer.weight_ih.mT, torch.zeros(4, B, H).double(), recurrent, layer.bias,
        slstm_pointwise_function_registry["slstm"],
    )  # fmt: skip
    same(layer(x)[0], states[0, 1:], x, layer.weight_hh, layer.weight_hh)
