"""TCN: torch's convolutions and weight norm, the published sizes, the receptive field, both initialisations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from longlag.cells import Stack
from longlag.cells.tcn import TCN, TCNLayer, TCNOptions
from tests.cells.sequences import gradients_stay_finite, outputs_are_recorded, ragged_chunks_equal_the_whole

SMALL = TCNOptions(kernel_size=2, levels=2)


@pytest.fixture(autouse=True)
def seeded_on_one_thread() -> Iterator[None]:
    """Threads only get in each other's way in convolutions this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("inputs", [3, 4])
def test_equals_padded_and_cut_convolutions(inputs: int) -> None:
    hidden, k = 4, 3
    cell = TCN(TCNOptions(kernel_size=k, levels=3))
    stack = Stack(cell, inputs, hidden, 1, torch.Generator().manual_seed(0)).double()
    x = torch.randn(20, 2, inputs, dtype=torch.float64)
    a = x.permute(1, 2, 0)
    for level, ours in enumerate(stack.layers[0].levels):
        value, past = a, (k - 1) * 2**level
        for mine in (ours.first, ours.second):
            channels = value.shape[1]
            convolution = nn.Conv1d(channels, hidden, k, padding=past, dilation=2**level).double()
            nn.utils.parametrizations.weight_norm(convolution)
            with torch.no_grad():
                weight = convolution.parametrizations.weight
                weight.original0.copy_(mine.gain.view(-1, 1, 1))
                weight.original1.copy_(mine.direction)
                convolution.bias.copy_(mine.bias)
            value = torch.relu(convolution(value)[..., :-past])
        a = torch.relu(value + (nn.functional.conv1d(a, ours.weight, ours.bias) if channels_differ(ours) else a))
    torch.testing.assert_close(stack(x)[0], a.permute(2, 0, 1), rtol=1e-10, atol=1e-10)


def channels_differ(level: nn.Module) -> bool:
    return hasattr(level, "weight")


@pytest.mark.parametrize(
    ("levels", "hidden", "kernel_size", "inputs", "outputs", "published"),
    [
        (9, 10, 6, 1, 10, 10_750),  # copy memory, T = 500
        (8, 10, 8, 1, 10, 12_530),  # copy memory, T = 1000
        (8, 24, 8, 2, 1, 70_369),  # adding, T = 600
        (8, 25, 7, 1, 10, 66_910),  # pixel MNIST
    ],
)
def test_sizes_of_the_authors_models(
    levels: int, hidden: int, kernel_size: int, inputs: int, outputs: int, published: int
) -> None:
    layer = TCN(TCNOptions(kernel_size=kernel_size, levels=levels)).layer(inputs, hidden)
    readout = nn.Linear(hidden, outputs)
    assert sum(p.numel() for p in (*layer.parameters(), *readout.parameters())) == published


def test_receptive_field() -> None:
    cell = TCN(TCNOptions(kernel_size=3, levels=3))
    assert cell.receptive_field == 29
    layer = cell.layer(1, 8, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():  # no unit is ever off, no path cut
        for parameter in layer.parameters():
            parameter.abs_()
    x = torch.rand(40, 1, 1, dtype=torch.float64, requires_grad=True)
    outputs, _ = layer(x)
    (gradient,) = torch.autograd.grad(outputs[35].sum(), x)
    reached = gradient.flatten().nonzero().flatten()
    assert reached.min() == 35 - 28 and reached.max() == 35


def test_effective_and_literal_initialisation() -> None:
    def first(init: str) -> torch.Tensor:
        options = TCNOptions(kernel_size=7, levels=2, init=init)
        layer = TCN(options).layer(1, 100, torch.Generator().manual_seed(0))
        assert isinstance(layer, TCNLayer)
        convolution = layer.levels[1].first
        scale = convolution.gain / convolution.direction.flatten(1).norm(dim=1)
        torch.testing.assert_close(scale, torch.ones(100))  # the weight is what was drawn
        torch.testing.assert_close(layer.levels[0].weight.std(), torch.tensor(0.01), rtol=0.2, atol=0)
        return convolution.direction.detach()

    default, paper = first("default"), first("paper")
    assert default.abs().max() <= 700**-0.5
    torch.testing.assert_close(default.std(), torch.tensor((3 * 700) ** -0.5), rtol=0.02, atol=0)
    torch.testing.assert_close(paper.std(), torch.tensor(0.01), rtol=0.02, atol=0)


def test_dropout_is_repeatable_and_for_training_only() -> None:
    def run(training: bool) -> torch.Tensor:
        options = TCNOptions(kernel_size=2, levels=2, dropout=0.5)
        stack = Stack(TCN(options), 2, 8, 1, torch.Generator().manual_seed(0)).train(training)
        return stack(torch.ones(5, 2, 2))[0]

    plain = Stack(TCN(SMALL), 2, 8, 1, torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = run(True)
    torch.manual_seed(2)
    assert torch.equal(first, run(True)) and not torch.equal(first, run(False))
    assert torch.equal(run(False)[:, 0], run(False)[:, 1])
    assert plain(torch.ones(5, 2, 2))[0].shape == first.shape


def test_sequences() -> None:
    ragged_chunks_equal_the_whole(TCN(TCNOptions(kernel_size=3, levels=3)))
    outputs_are_recorded(TCN(SMALL))
    gradients_stay_finite(TCN(TCNOptions(kernel_size=7, levels=8)))
