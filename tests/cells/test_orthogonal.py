"""Norm-preserving recurrences: their matrices from the papers' factors, and orthogonality that training keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from longlag.cells import unitary
from longlag.cells.antisymmetric import AntisymmetricRNN
from longlag.cells.base import GatedCell, GatedLayer
from longlag.cells.compose import Composition
from longlag.cells.gru import GRU
from longlag.cells.indrnn import IndRNN
from longlag.cells.lstm import LSTM
from longlag.cells.lstm_presets import FullGateRecurrence
from longlag.cells.orthogonal import ExpRNN, ScoRNN
from longlag.cells.parametrise import orthogonalise
from longlag.cells.stack import Stack
from longlag.cells.unitary import URNN
from longlag.cells.xlstm import SLSTM
from longlag.errors import UserError
from longlag.kernels import Derived


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(kind: type[GatedCell], inputs: int, hidden: int, seed: int = 0, **options: Any) -> GatedLayer:
    layer = kind(kind.Options.model_validate(options)).layer(inputs, hidden, seeded(seed))
    layer.kernel = "plain"
    return layer


def matrices(layer: GatedLayer) -> list[Tensor]:
    """Every square recurrent matrix of a layer."""
    size = layer.hidden_size * (2 if isinstance(layer.cell, URNN) else 1)
    packed = [rows for w in layer.weights().weight_hh for rows in w.detach().split(size)]
    return [block for rows in packed for block in rows.split(size, 1)]


def error(layer: GatedLayer) -> float:
    return max(float((w.mT @ w - torch.eye(len(w))).abs().max()) for w in matrices(layer))


@pytest.mark.parametrize(
    "layer",
    [
        build(URNN, 2, 12),
        build(ExpRNN, 2, 12),
        build(ScoRNN, 2, 12),
        build(LSTM, 2, 6),
        build(FullGateRecurrence, 2, 5),
    ],
    ids=lambda layer: type(layer.cell).__name__,
)
def test_orthogonal_after_a_thousand_updates(layer: GatedLayer) -> None:
    if not layer.cell.constrained:
        orthogonalise(layer, seeded(2))
    first = matrices(layer)
    optimizer = torch.optim.RMSprop(layer.parameters(), lr=3e-3, alpha=0.9)
    generator = seeded(1)
    pulls = [torch.randn(w.shape, generator=generator) for w in layer.weights().weight_hh]
    for _ in range(1000):
        optimizer.zero_grad()
        weights = layer.weights().weight_hh
        noise = [torch.randn(w.shape, generator=generator) for w in weights]
        sum((w * (a + b)).sum() for w, a, b in zip(weights, pulls, noise, strict=True)).backward()
        optimizer.step()
    moved = max(float((a - b).abs().max()) for a, b in zip(first, matrices(layer), strict=True))
    assert moved > 0.1
    assert error(layer) < 1e-5


@pytest.mark.parametrize("size", [1, 7, 128])
def test_urnn_matrix_is_the_product_of_its_factors(size: int) -> None:
    """Factor by factor on vectors, with NumPy's transforms."""
    layer = build(URNN, 2, size)
    theta = layer.theta.detach().double().numpy()
    v = layer.reflection.detach().double().numpy()
    v = v[:, :size] + 1j * v[:, size:]
    order = layer.permutation.numpy()
    assert sorted(order) == list(range(size))
    rng = np.random.default_rng(0)
    h = rng.normal(size=size) + 1j * rng.normal(size=size)

    def reflect(a: np.ndarray, k: int) -> np.ndarray:
        return a - 2 * v[k] * (v[k].conj() @ a) / (v[k].conj() @ v[k])

    a = np.fft.fft(np.exp(1j * theta[0]) * h, norm="ortho")
    a = np.exp(1j * theta[1]) * reflect(a, 0)[order]
    a = np.exp(1j * theta[2]) * reflect(np.fft.ifft(a, norm="ortho"), 1)
    (matrix,) = layer.weights().weight_hh
    got = matrix.detach().double().numpy() @ np.concatenate([h.real, h.imag])
    np.testing.assert_allclose(got, np.concatenate([a.real, a.imag]), rtol=1e-5, atol=2e-5)
    assert error(layer) < 1e-5


def test_urnn_has_the_parameters_of_the_authors() -> None:
    """Copy memory, 128 units: 10 symbols in, 9 classes out, the initial state learned."""
    stack = Stack(URNN(), 10, 128, generator=seeded())
    readout = stack.output_size * 9 + 9
    assert sum(p.numel() for p in stack.parameters()) + readout == 6153
    bound = math.sqrt(3 / 256)
    for start in stack.starts.parameters():
        assert 0.95 * bound < float(start.detach().abs().max()) <= bound
    zero = Stack(URNN(), 10, 128, generator=seeded(), composition=Composition(initial_state="zero"))
    assert not len(zero.starts)


def test_urnn_initialisation() -> None:
    layer = build(URNN, 10, 400)
    theta = layer.theta.detach().flatten().numpy()
    assert scipy.stats.kstest(theta, scipy.stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01
    assert float(layer.weight_ih.data.abs().max()) == pytest.approx(math.sqrt(6 / 810), rel=0.01)
    assert float(layer.reflection.data.abs().max()) == pytest.approx(math.sqrt(6 / 802), rel=0.01)
    assert 0.0095 < float(layer.offset.data.abs().max()) <= 0.01


def test_urnn_permutation_is_of_the_seed_and_is_saved() -> None:
    first, same, other = build(URNN, 2, 30), build(URNN, 2, 30), build(URNN, 2, 30, seed=1)
    assert torch.equal(first.permutation, same.permutation)
    assert not torch.equal(first.permutation, other.permutation)
    other.load_state_dict(first.state_dict())
    assert torch.equal(other.weights().weight_hh[0], first.weights().weight_hh[0])


def test_urnn_without_input_or_state_has_finite_gradients() -> None:
    layer = build(URNN, 2, 6)
    layer(torch.zeros(4, 2, 2))[0].square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters() if p.grad is not None)


def above(layer: GatedLayer) -> np.ndarray:
    """The skew-symmetric matrix, filled entry by entry."""
    size = layer.hidden_size
    matrix, entries = np.zeros((size, size)), iter(layer.skew.detach().double().numpy())
    for row in range(size):
        for column in range(row + 1, size):
            matrix[row, column] = next(entries)
            matrix[column, row] = -matrix[row, column]
    return matrix


def test_exprnn_and_scornn_matrices() -> None:
    for kind, options in ((ExpRNN, {}), (ScoRNN, {"negative_ones": 3})):
        layer = build(kind, 2, 9, **options)
        layer.skew.data.normal_(generator=seeded(4))
        a, one = above(layer), np.eye(9)
        if kind is ExpRNN:
            want, sign = scipy.linalg.expm(a), 1
        else:
            want, sign = scipy.linalg.inv(one + a) @ (one - a) @ np.diag([1] * 6 + [-1] * 3), -1
        (matrix,) = layer.weights().weight_hh
        np.testing.assert_allclose(matrix.detach().numpy(), want, atol=1e-5)
        assert np.linalg.det(want) == pytest.approx(sign)


@pytest.mark.parametrize(("kind", "options"), [(ExpRNN, {}), (ExpRNN, {"init": "cayley"}), (ScoRNN, {})])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_skew_cells_start_from_rotations_of_pairs(kind: type[GatedCell], options: dict[str, str], size: int) -> None:
    layer = build(kind, 2, size, **options)
    a = above(layer)
    for row, column in zip(*np.nonzero(a), strict=True):
        assert row // 2 == column // 2
    assert np.count_nonzero(a) == 2 * (size // 2)
    if options or kind is ScoRNN:
        assert all(-1 <= value <= 0 for value in np.diag(a, 1))
    stated = eval(layer.cell.formula, {"I": 2, "H": size})
    assert sum(p.numel() for p in layer.parameters()) == stated


def test_exprnn_keeps_the_norm_without_input() -> None:
    layer = build(ExpRNN, 2, 16).double()
    layer.offset.data.zero_()
    start = torch.randn(3, 16, generator=seeded(2)).double()
    outputs, _ = layer(torch.zeros(500, 3, 2).double(), {"h": start})
    torch.testing.assert_close(outputs.norm(dim=-1), start.norm(dim=-1).expand(500, 3))


def test_orthogonalised_layer_is_reproducible_and_loads() -> None:
    first, same, other = (build(LSTM, 3, 5) for _ in range(3))
    for layer, seed in ((first, 1), (same, 1), (other, 2)):
        assert orthogonalise(layer, seeded(seed)) == ("weight_hh",)
    assert torch.equal(first.weight_hh, same.weight_hh) and not torch.equal(first.weight_hh, other.weight_hh)
    assert error(first) < 1e-5
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.weight_hh, other.weight_hh)
    stack = Stack(GRU(), 3, 5, 2, seeded(), Composition(recurrent="orthogonal"))
    assert all(error(layer) < 1e-5 for layer in stack.layers)


@pytest.mark.parametrize("layer", [build(URNN, 2, 4), build(IndRNN, 2, 4), build(SLSTM, 2, 4, heads=2)])
def test_nothing_to_orthogonalise_is_said(layer: GatedLayer) -> None:
    with pytest.raises(UserError, match="no recurrent matrix"):
        orthogonalise(layer)


def test_indrnn_units_are_powers() -> None:
    layer = build(IndRNN, 2, 4).double()
    x = torch.rand(30, 3, 2, generator=seeded(1)).double()
    layer.weight_ih.data.abs_()  # all pre-activations positive: linear
    powers = layer.recurrent ** torch.arange(29, -1, -1, dtype=torch.float64)[:, None]
    want = torch.einsum("th,tbh->bh", powers, x @ layer.weight_ih.mT)
    torch.testing.assert_close(layer(x)[1]["h"], want)
    start = {"h": torch.full((3, 4), 0.5, dtype=torch.float64, requires_grad=True)}
    layer(x, start)[1]["h"].sum().backward()
    torch.testing.assert_close(start["h"].grad, (layer.recurrent.detach() ** 30).expand(3, 4))


def test_indrnn_bound_and_initialisation() -> None:
    layer = build(IndRNN, 20, 300, recurrent_max=2 ** (1 / 100))
    assert float(layer.recurrent.data.min()) >= 0 and 1 < float(layer.recurrent.data.max()) <= 2**0.01
    assert float(layer.weight_ih.data.abs().max()) == pytest.approx(math.sqrt(6 / (65 * 20)), rel=0.01)
    layer.recurrent.data[:2] = torch.tensor([5.0, -5.0])
    used = layer.weights().units["recurrent"]
    assert used[:2].tolist() == pytest.approx([2**0.01, -(2**0.01)])
    used.sum().backward()
    assert torch.equal(layer.recurrent.grad, torch.ones(300))


@pytest.mark.parametrize("gated", [False, True])
def test_antisymmetric(gated: bool) -> None:
    layer = build(AntisymmetricRNN, 3, 8, gated=gated, step_size=0.1, diffusion=0.05).double()
    (m,) = layer.weights().weight_hh
    values = torch.linalg.eigvals(m.detach())
    torch.testing.assert_close(values.real, torch.full((8,), -0.05, dtype=torch.float64))
    x, h = torch.randn(9, 2, 3, generator=seeded(3)).double(), torch.zeros(2, 8, dtype=torch.float64)
    V, b = layer.weight_ih.split(8), layer.bias.split(8)
    for x_t in x:
        new = torch.tanh(h @ m.mT + x_t @ V[0].mT + b[0])
        gate = torch.sigmoid(h @ m.mT + x_t @ V[1].mT + b[1]) if gated else 1
        h = h + 0.1 * gate * new
    torch.testing.assert_close(layer(x)[1]["h"], h)
    assert not b[0].any() and (not gated or (b[1] == 1).all())
    wide = build(AntisymmetricRNN, 1, 128, gated=gated)
    assert float(wide.skew.data.std()) == pytest.approx(1 / math.sqrt(128), rel=0.05)
    total = sum(p.numel() for p in wide.parameters())
    assert total == eval(wide.cell.formula, {"I": 1, "H": 128})
    assert round((total + 128 * 10 + 10) / 1000) == 10  # the paper's "10k" for pixel MNIST, with its readout


@pytest.mark.parametrize("kind", [ExpRNN, ScoRNN, URNN, AntisymmetricRNN])
def test_what_is_remembered_between_calls_may_come_from_inference(kind):
    layer = build(kind, 2, 37)  # a size that nothing else asks for
    x = torch.ones(3, 2, 2)
    with torch.inference_mode():
        layer(x)
    layer(x)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_derivative_of_the_unitary_matrix(size):
    generator = torch.Generator().manual_seed(5)
    theta = torch.randn(3, size, generator=generator, dtype=torch.float64).requires_grad_()
    reflection = torch.randn(2, 2 * size, generator=generator, dtype=torch.float64).requires_grad_()
    permutation = torch.randperm(size, generator=generator)
    assert torch.autograd.gradcheck(
        lambda t, r: Derived((t, r), partial(unitary.unitary, permutation)).tensor(), (theta, reflection)
    )
