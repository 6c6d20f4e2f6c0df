"""minGRU and minLSTM: the paper's parallel form in log space, its parameter counts, stability of the gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.cells import Cell, Stack
from longlag.cells.gru import GRU
from longlag.cells.lstm import LSTM
from longlag.cells.mingru import MinGRU, MinGRUOptions, MinLSTM, MinLSTMOptions
from tests.cells.sequences import gradients_stay_finite, ragged_chunks_equal_the_whole

CELLS = [MinGRU(), MinGRU(MinGRUOptions(candidate="linear", bias=False)), MinLSTM(MinLSTMOptions(forget_bias=1.0))]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def in_log_space(log_keep: Tensor, log_new: Tensor) -> Tensor:
    """h_t = keep_t h_{t-1} + new_t from h_0 = 0, all positive, by sums of logarithms (Heinsen 2023)."""
    total = log_keep.cumsum(0)
    return (total + torch.logcumsumexp(log_new - total, 0)).exp()


def log_g(a: Tensor) -> Tensor:
    return torch.where(a >= 0, (F.relu(a) + 0.5).log(), -F.softplus(-a))


def test_mingru_equals_its_parallel_form() -> None:
    stack = Stack(MinGRU(), 3, 5, 1, torch.Generator().manual_seed(0)).double()
    x = torch.randn(40, 2, 3, dtype=torch.float64)
    layer = stack.layers[0]
    z, n = F.linear(x, layer.weight_ih, layer.bias).chunk(2, -1)
    want = in_log_space(-F.softplus(z), -F.softplus(-z) + log_g(n))
    torch.testing.assert_close(stack(x)[0], want, rtol=1e-10, atol=1e-10)


def test_minlstm_equals_its_parallel_form() -> None:
    stack = Stack(MinLSTM(), 3, 5, 1, torch.Generator().manual_seed(0)).double()
    x = torch.randn(40, 2, 3, dtype=torch.float64)
    layer = stack.layers[0]
    f, i, n = F.linear(x, layer.weight_ih, layer.bias).chunk(3, -1)
    f, i = torch.sigmoid(f), torch.sigmoid(i)
    want = in_log_space((f / (f + i)).log(), (i / (f + i)).log() + log_g(n))
    torch.testing.assert_close(stack(x)[0], want, rtol=1e-10, atol=1e-10)


def test_both_gates_of_minlstm_may_underflow() -> None:
    stack = Stack(MinLSTM(), 1, 1, 1)
    layer = stack.layers[0]
    with torch.no_grad():
        layer.weight_ih.zero_()
        layer.bias.copy_(torch.tensor([-200.0, -200.0, 0.5]))  # f = i = exp(-200) = 0 in float32
    outputs, _ = stack(torch.zeros(2, 1, 1))
    torch.testing.assert_close(outputs.flatten(), torch.tensor([0.5, 0.75]))


@pytest.mark.parametrize(("expansion", "gru", "lstm"), [(1, 33, 38), (2, 22, 25), (3, 17, 19), (4, 13, 15)])
def test_share_of_parameters_as_in_the_paper(expansion: int, gru: int, lstm: int) -> None:
    inputs = 60
    hidden = expansion * inputs

    def matrices(cell: Cell) -> int:
        return sum(p.numel() for n, p in cell.layer(inputs, hidden).named_parameters() if "bias" not in n)

    assert round(100 * matrices(MinGRU()) / matrices(GRU())) == gru
    # 0.375 is printed as 38
    assert int(100 * matrices(MinLSTM()) / matrices(LSTM()) + 0.5) == lstm


def test_initialisation() -> None:
    layer = MinLSTM(MinLSTMOptions(forget_bias=2.0)).layer(16, 4000, torch.Generator().manual_seed(0))
    weight, bias = layer.get_parameter("weight_ih"), layer.get_parameter("bias").detach()
    assert weight.abs().max() <= 0.25
    torch.testing.assert_close(weight.std(), torch.tensor(0.25 / 3**0.5), rtol=0.02, atol=0)
    torch.testing.assert_close(bias.view(3, -1).mean(1), torch.tensor([2.0, 0.0, 0.0]), rtol=0, atol=0.01)


def test_forget_bias_needs_a_bias() -> None:
    with pytest.raises(ValueError, match="needs bias"):
        MinLSTMOptions(bias=False, forget_bias=1.0)


@pytest.mark.parametrize("cell", CELLS)
def test_sequences(cell: Cell) -> None:
    ragged_chunks_equal_the_whole(cell)
    gradients_stay_finite(cell)
