"""Weights derived from other tensors, in C and by torch's operations, against scipy, autograd and differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from longlag.cells.mut import MUT1
from longlag.cells.orthogonal import ExpRNN
from longlag.kernels import Derived, embedded, skew
from longlag.kernels.recurrence import Weights
from longlag.kernels.skew import Cayley, Damped, Exponential, composed
from longlag.kernels.targets import maps_for
from longlag.kernels.targets.c import cc, maps
from tests.kernels.zoo import compiled

MAPS = (Exponential(), Cayley(2), Damped(0.3))


@pytest.fixture(autouse=True, params=["compiled", "plain"])
def path(request, monkeypatch):
    """Both ways of computing them."""
    if request.param == "plain":
        for module in (skew, embedded):
            monkeypatch.setattr(module, "maps_for", lambda like: None)
    elif cc.compiler() is None:
        pytest.skip("there is no C compiler on this machine")
    return request.param


@pytest.mark.parametrize("size", [1, 2, 7, 40])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.3, 2.0, 30.0])
def test_the_exponential_is_scipys_and_orthogonal(size, scale):
    above = torch.randn(size * (size - 1) // 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale
    matrix = skew.skew(above, size)
    wanted = torch.from_numpy(scipy.linalg.expm(matrix.numpy()))
    # rounding grows with the norm of the matrix, whose entries are angles of that size
    room = size * max(1.0, float(torch.linalg.matrix_norm(matrix, 2)))
    for dtype in (torch.float64, torch.float32):
        found = composed(Exponential(), above.to(dtype), size).tensor().double()
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(found, wanted, rtol=0, atol=4 * room * eps)
        torch.testing.assert_close(found @ found.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=4 * room * eps)


@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_the_exponentials_gradient_is_scipys(scale):
    generator = torch.Generator().manual_seed(2)
    leaf = (scale * torch.randn(15, generator=generator, dtype=torch.float64)).requires_grad_()
    seed = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    composed(Exponential(), leaf, 6).tensor().backward(seed)
    # the adjoint of the derivative at S is the derivative at S', and an entry of A is in S twice, once negated
    matrix = skew.skew(leaf.detach(), 6)
    wanted = torch.from_numpy(scipy.linalg.expm_frechet(matrix.T.numpy(), seed.numpy(), compute_expm=False))
    rows, columns = torch.triu_indices(6, 6, 1)
    torch.testing.assert_close(leaf.grad, (wanted - wanted.T)[rows, columns], rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("mapping", MAPS, ids=lambda mapping: type(mapping).__name__)
@pytest.mark.parametrize("scale", [0.1, 3.0, 20.0])
def test_the_derivatives_that_are_written_out(mapping, scale):
    generator = torch.Generator().manual_seed(4)
    above = (scale * torch.randn(10, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: composed(mapping, a, 5).tensor(), (above,))
    transposed = (scale * torch.randn(5, 5, generator=generator, dtype=torch.float64)).T  # a gradient stored by columns
    (by_columns,) = torch.autograd.grad(composed(mapping, above, 5).tensor(), above, transposed)
    (by_rows,) = torch.autograd.grad(composed(mapping, above, 5).tensor(), above, transposed.contiguous())
    torch.testing.assert_close(by_columns, by_rows, rtol=1e-13, atol=1e-13 * scale)


@pytest.mark.parametrize("mapping", MAPS, ids=lambda mapping: type(mapping).__name__)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_matrix_shows(mapping, value):
    assert not composed(mapping, torch.tensor([0.1, value, 0.2]), 3).tensor().isfinite().all()


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("size", [1, 2, 7, 40, 96, 97])
@pytest.mark.parametrize("negative", [0, 1])
def test_the_cayley_transform_is_the_quotient(size, negative, scale):
    above = scale * torch.randn(size * (size - 1) // 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    matrix, one = skew.skew(above, size).numpy(), np.eye(size)
    signs = np.diag([1.0] * (size - negative) + [-1.0] * negative)
    wanted = scipy.linalg.solve(one + matrix, one - matrix) @ signs
    found = composed(Cayley(negative), above, size).tensor().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * size)
    single = composed(Cayley(negative), above.float(), size).tensor().numpy()
    np.testing.assert_allclose(single, wanted, rtol=0, atol=1e-6 * size)


def test_damping_leaves_the_rest():
    found = composed(Damped(0.25), torch.tensor([1.0, 2.0, 3.0]), 3).tensor()
    assert found.tolist() == [[-0.25, 1, 2], [-1, -0.25, 3], [-2, -3, -0.25]]


def test_half_precision_is_composed_in_single():
    above = torch.tensor([0.5, -1.0, 0.25], dtype=torch.bfloat16, requires_grad=True)
    found = composed(Exponential(), above, 3).tensor()
    assert found.dtype == torch.bfloat16
    wanted = scipy.linalg.expm(skew.skew(above.detach().double(), 3).numpy())
    np.testing.assert_allclose(found.detach().float().numpy(), wanted, atol=2**-8)
    found.sum().backward()
    assert above.grad is not None and above.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("before", "inputs"), [(0, 2), (4, 1), (8, 3), (4, 11)])
def test_an_embedding_in_front_of_some_rows(before, inputs):
    generator = torch.Generator().manual_seed(6)
    packed = torch.randn(8, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(4, inputs, generator=generator, dtype=torch.float64, requires_grad=True)
    seed = torch.randn(inputs, 12, generator=generator, dtype=torch.float64).T
    wanted = torch.cat([packed[:before] @ embedding, embedding, packed[before:] @ embedding])
    found = embedded.embedded(packed, embedding, before).tensor()
    torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)
    expected = torch.autograd.grad(wanted, (packed, embedding), seed)
    for lying in (seed, seed.contiguous()):
        got = torch.autograd.grad(found, (packed, embedding), lying, retain_graph=True)
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", [ExpRNN, MUT1])
def test_the_loop_takes_the_derivation_in(kind):
    """Same gradients as where the weight is a node of its own, and every one that autograd asks for."""
    layer = kind().layer(3, 6, torch.Generator().manual_seed(7)).double()
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    state = layer.initial_state(2)
    inside = layer._weights()
    assert inside.derived and not layer.weights().derived
    results = []
    for weights in (inside, layer.weights()):
        outputs, final = compiled(layer.cell, weights, x, state)
        gradients = torch.autograd.grad(outputs.square().sum() + final["h"].sum(), list(layer.parameters()))
        results.append((outputs, *gradients))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)
    for parameter in layer.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    outputs, _ = compiled(layer.cell, layer._weights(), x, state)
    some = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(outputs.square().sum(), some))


def test_what_it_was_derived_from_may_not_change_before_the_backward_pass():
    layer = ExpRNN().layer(3, 6, torch.Generator().manual_seed(7))
    outputs, _ = layer(torch.ones(5, 2, 3))
    with torch.no_grad():
        layer.skew.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (torch.zeros(5, 6), r"weight_hh 1 has shape \(5, 6\), expected \(6, 6\)"),
        (torch.zeros(6, 6, dtype=torch.float64), "a derived weight is torch.float64, expected torch.float32"),
    ],
)
def test_a_derived_weight_that_does_not_fit_is_refused(made, complaint):
    layer = ExpRNN().layer(3, 6)
    wrong = {"weight_hh": Derived((), lambda: (made, lambda gradient: ()))}
    weights = Weights(layer.weight_ih, (), None, None, {"offset": layer.offset}, wrong)
    with pytest.raises(ValueError, match=complaint):
        compiled(layer.cell, weights, torch.zeros(4, 2, 3), layer.initial_state(2))


def test_a_derived_weight_may_lie_by_columns():
    layer = ExpRNN().layer(3, 6, torch.Generator().manual_seed(7))
    weights, x, state = layer.weights(), torch.ones(4, 2, 3), layer.initial_state(2)
    (matrix,) = weights.weight_hh
    transposed = Derived((matrix,), lambda given: (given.T.contiguous().T, lambda gradient: (gradient,)))
    lying = weights._replace(weight_hh=(), derived={"weight_hh": transposed})
    wanted, _ = compiled(layer.cell, weights, x, state)
    found, _ = compiled(layer.cell, lying, x, state)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


class Marked(torch.Tensor):
    """A tensor that is more than its memory."""


@pytest.mark.parametrize(
    "other", [torch.zeros(3, dtype=torch.float16), torch.zeros(3, device="meta"), torch.zeros(3).as_subclass(Marked)]
)
def test_other_tensors_are_not_for_c(other):
    assert maps_for(other) is None


def test_without_a_compiler_torch_serves(monkeypatch):
    monkeypatch.setattr(cc, "compiler", lambda: None)
    maps.made.cache_clear()
    try:
        assert maps_for(torch.zeros(3)) is None
        assert composed(Exponential(), torch.zeros(3), 3).tensor().equal(torch.eye(3))
    finally:
        maps.made.cache_clear()
