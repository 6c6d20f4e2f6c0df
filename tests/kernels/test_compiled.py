"""The compiled loop against the plain one, in values, gradients and through-time gradient norms."""

from __future__ import annotations

import gc
import math
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch

from longlag.kernels import StateGradients, plain
from longlag.kernels.compiler.plan import make_plan
from longlag.kernels.targets.c.passes import CKernel
from tests.kernels.zoo import CELLS, MinGRU, compiled

TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}


@contextmanager
def in_slices(count):
    """Passes of the C target that split their batch into so many slices, however small they are."""
    with patch.object(CKernel, "threads", lambda self, shape, hidden: min(count, shape[1])):
        yield


def problem(cell, steps, batch, hidden, inputs=2, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layer = cell.layer(inputs, hidden, generator).to(dtype)
    x = torch.randn(steps, batch, inputs, dtype=dtype, generator=generator)
    state = {name: torch.randn(batch, hidden, dtype=dtype, generator=generator) for name in cell.states}
    return layer, x, state


def results(unroll, cell, layer, x, state, mask=None, **options):
    """Everything a pass gives: outputs, final states, gradients of all tensors, gradient norms."""
    x = x.detach().clone().requires_grad_()
    state = {name: value.detach().clone().requires_grad_() for name, value in state.items()}
    record = StateGradients()
    outputs, final = unroll(cell, layer.weights(), x, state, mask, record, **options)
    values = {"outputs": outputs, **{f"final {n}": v for n, v in final.items()}}
    generator = torch.Generator().manual_seed(1)
    loss = sum((v * torch.randn(v.shape, dtype=v.dtype, generator=generator)).sum() for v in values.values())
    wanted = {"x": x, **{f"initial {n}": v for n, v in state.items()}, **dict(layer.named_parameters())}
    grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    for (name, tensor), grad in zip(wanted.items(), grads, strict=True):
        values[f"gradient {name}"] = torch.zeros_like(tensor) if grad is None else grad
    values.update({f"squares {n}": v for n, v in record.squares.items()})
    return {name: value.detach() for name, value in values.items()}


def assert_close(actual, expected, tolerance):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        relative = tolerance * 2 if name.startswith("squares") else tolerance
        scale = value[value.isfinite()].abs().max().item() if value.isfinite().any() else 1.0
        torch.testing.assert_close(
            actual[name], value, rtol=relative, atol=relative * scale, equal_nan=True, msg=f"{name}: {{}}".format
        )


def compare(cell, steps, batch, hidden, dtype=torch.float64, mask=None, inputs=2, **options):
    layer, x, state = problem(cell, steps, batch, hidden, inputs, dtype)
    expected = results(plain.unroll, cell, layer, x, state, mask)
    assert_close(results(compiled, cell, layer, x, state, mask, **options), expected, TOLERANCE[dtype])


def in_float32(names, often):
    """Each of these with a kernel in double precision, and in float32: of `often` always, of the others when slow."""
    slow = [pytest.param(name, torch.float32, marks=pytest.mark.slow) for name in names if name not in often]
    return [*((name, torch.float64) for name in names), *((name, torch.float32) for name in often), *slow]


@pytest.mark.parametrize(("name", "dtype"), in_float32(CELLS, ("lstm", "gru-before", "split-odd", "complex")))
def test_equals_the_plain_loop(name, dtype):
    compare(CELLS[name], 9, 5, 13, dtype)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 3, 4), (6, 1, 7), (3, 2, 1), (40, 3, 16)])
@pytest.mark.parametrize("name", ["lstm", "gru-before", "mingru", "split-odd"])
def test_any_size(name, sizes):
    compare(CELLS[name], *sizes)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("inputs", [1, 17])
def test_mask_many_inputs_and_threads(name, inputs):
    mask = torch.rand(11, 6, generator=torch.Generator().manual_seed(2)) > 0.3
    mask[0, 0], mask[:, 1] = False, False
    for threads, steps in ((1, None), (2, None), (4, 4)):
        with in_slices(threads):
            compare(CELLS[name], 11, 6, 7, mask=mask, inputs=inputs, checkpoint_steps=steps)


@pytest.mark.parametrize("name", CELLS)
def test_recomputation_changes_no_gradient(name):
    cell = CELLS[name]
    given = problem(cell, 50, 3, 5)
    whole = results(compiled, cell, *given)
    for steps in (1, 7, 49, 50, 1000):
        parts = results(compiled, cell, *given, checkpoint_steps=steps)
        assert_close(parts, whole, 1e-13)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["lstm", "gru-before"])
def test_what_is_kept_of_a_long_pass_goes_past_the_caches_unchanged(name, threads):
    """Above 16 MB it is streamed; chunks of the same pass, far below, are not."""
    cell = CELLS[name]
    layer, x, state = problem(cell, 1100, 20, 80, dtype=torch.float32)
    mask = torch.rand(1100, 20, generator=torch.Generator().manual_seed(1)) > 0.1
    given = (layer, x, state, mask)
    with in_slices(threads):
        whole, parts = (results(compiled, cell, *given, checkpoint_steps=steps) for steps in (None, 100))
    assert 1100 * 20 * 80 * 4 * len(make_plan(cell).saved) > 1 << 24
    assert_close(parts, whole, 2e-5)
    assert torch.equal(parts["outputs"], whole["outputs"])


@pytest.mark.parametrize("name", CELLS)
def test_gradcheck(name):
    cell = CELLS[name]
    layer, x, state = problem(cell, 3, 2, 3)
    names = tuple(dict(layer.named_parameters()))

    def function(x, *tensors):
        states = dict(zip(cell.states, tensors[: len(state)], strict=True))
        weights = cell.weights(dict(zip(names, tensors[len(state) :], strict=True)))
        outputs, final = compiled(cell, weights, x, states)
        return (outputs, *final.values())

    tensors = [x, *state.values(), *(p.detach().clone() for p in layer.parameters())]
    assert torch.autograd.gradcheck(function, [t.requires_grad_() for t in tensors])


@pytest.mark.parametrize("threads", [1, 2])
def test_same_threads_same_bits_whatever_ran_before(threads):
    cell = CELLS["lstm"]
    given = problem(cell, 30, 20, 32, dtype=torch.float32)
    with in_slices(threads):
        first = results(compiled, cell, *given)
        results(compiled, cell, *problem(cell, 37, 21, 40, dtype=torch.float32, seed=5))
    junk = [torch.full((30, 20, 128), math.nan) for _ in range(8)]  # the allocator hands this memory out again
    del junk
    with in_slices(threads):
        again = results(compiled, cell, *given)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("name", ["lstm", "gru-before", "mingru", "complex"])
def test_padding_is_inert_to_the_bit(name):
    cell = CELLS[name]
    layer, x, state = problem(cell, 12, 4, 8, dtype=torch.float32)
    padded = torch.cat([x, torch.full((5, 4, 2), 3.0)])
    mask = torch.arange(17)[:, None].expand(17, 4) < 12
    for unroll in (compiled, plain.unroll):
        _, expected = unroll(cell, layer.weights(), x, state)
        _, final = unroll(cell, layer.weights(), padded, state, mask)
        assert all(torch.equal(final[n], expected[n]) for n in cell.states)

        def gradients(final, layer=layer):
            return torch.autograd.grad(sum(v.square().sum() for v in final.values()), list(layer.parameters()))

        for a, b in zip(gradients(final), gradients(expected), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", CELLS)
def test_what_is_not_finite_comes_through_forward(name, bad):
    cell = CELLS[name]
    layer, x, state = problem(cell, 6, 3, 5, dtype=torch.float32)
    x[2, 1, 0] = bad
    expected, _ = plain.unroll(cell, layer.weights(), x, state)
    outputs, _ = compiled(cell, layer.weights(), x, state)
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", CELLS)
def test_what_is_not_finite_comes_through_backward(name, bad):
    cell = CELLS[name]
    layer, x, state = problem(cell, 6, 3, 5, dtype=torch.float32)
    found = []
    for unroll in (plain.unroll, compiled):
        record = StateGradients()
        leaf = x.clone().requires_grad_()
        outputs, _ = unroll(cell, layer.weights(), leaf, state, None, record)
        seed = torch.ones_like(outputs)
        seed[:, 1] = bad
        grads = torch.autograd.grad(outputs, [leaf, *layer.parameters()], seed, allow_unused=True)
        values = [g for g in grads if g is not None]
        found.append([v.isfinite() for v in (*values, *(record.squares[n] for n in cell.states))])
    assert not found[0][0][:, 1].all()  # the oracle lost it: the test would be empty
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("hidden", [4, 70])
@pytest.mark.parametrize("scale", [1.0, 1e25])
def test_norms_whose_squares_no_float_holds_are_recorded_in_double(hidden, scale):
    cell = MinGRU()
    layer, x, state = problem(cell, 400, 2, hidden, dtype=torch.float32)
    with torch.no_grad():
        layer.weight_ih[:hidden] = 0
        layer.bias[:hidden] = 0.1  # keeps about half of the state in every step
    norms = {}
    for unroll in (plain.unroll, compiled):
        record = StateGradients()
        outputs, _ = unroll(cell, layer.weights(), x, state, None, record)
        (scale * outputs[-1]).sum().backward()
        norms[unroll] = record.squares["h"]
    expected, actual = norms[plain.unroll], norms[compiled]
    normal = expected > 1e-70  # above float32's denormal gradients
    assert expected[normal].min() < 1e-60 and expected.max() > scale**2
    torch.testing.assert_close(actual[normal], expected[normal], rtol=1e-3, atol=0)


def test_only_what_is_wanted_is_computed_and_nothing_is_kept_without_gradients():
    cell = CELLS["lstm"]
    layer, x, state = problem(cell, 4, 3, 5)
    outputs, final = compiled(cell, layer.weights(), x, state)
    assert outputs.requires_grad and final["c"].requires_grad
    with torch.no_grad():
        outputs, _ = compiled(cell, layer.weights(), x, state)
    assert not outputs.requires_grad
    frozen = cell.layer(2, 5).double().requires_grad_(False)
    frozen.bias.requires_grad_()
    outputs, _ = compiled(cell, frozen.weights(), x, state)
    outputs.sum().backward()
    reference, _ = plain.unroll(cell, frozen.weights(), x, state)
    torch.testing.assert_close(frozen.bias.grad, torch.autograd.grad(reference.sum(), frozen.bias)[0])
    assert frozen.weight_ih.grad is None


def test_backward_twice_chunks_and_composed_weights():
    cell = CELLS["gru-after"]
    layer, x, state = problem(cell, 10, 3, 5)
    doubled = {name: 2 * p for name, p in layer.named_parameters()}  # not leaves
    first, middle = compiled(cell, cell.weights(doubled), x[:6], state)
    second, _ = compiled(cell, cell.weights(doubled), x[6:], middle)
    loss = first.sum() + second.square().sum()
    once = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    twice = torch.autograd.grad(loss, list(layer.parameters()))
    whole, _ = plain.unroll(cell, cell.weights({name: 2 * p for name, p in layer.named_parameters()}), x, state)
    expected = torch.autograd.grad(whole[:6].sum() + whole[6:].square().sum(), list(layer.parameters()))
    for a, b, c in zip(once, twice, expected, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c)


def test_a_second_derivative_is_refused():
    cell = CELLS["rnn"]
    layer, x, state = problem(cell, 4, 3, 5)
    outputs, _ = compiled(cell, layer.weights(), x, state)
    first = torch.autograd.grad(outputs.square().sum(), list(layer.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first[0].sum().backward()


def test_an_output_changed_in_place_is_noticed():
    cell = CELLS["rnn"]
    layer, x, state = problem(cell, 4, 3, 5)
    outputs, _ = compiled(cell, layer.weights(), x, state)
    loss = outputs.sum()
    with torch.no_grad():
        outputs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_memory_goes_with_the_graph():
    cell = CELLS["lstm"]
    layer, x, state = problem(cell, 50, 8, 16)

    def live() -> int:
        gc.collect()
        return sum(o.numel() for o in gc.get_objects() if type(o) is torch.Tensor)

    before = live()
    outputs, final = compiled(cell, layer.weights(), x, state)
    (outputs.sum() + final["c"].sum()).backward()
    layer.zero_grad(set_to_none=True)
    del outputs, final
    assert live() <= before


def test_wrong_shapes_never_reach_c():
    cell = CELLS["lstm"]
    layer, x, state = problem(cell, 4, 3, 5)
    with pytest.raises(ValueError, match=r"weight_ih has shape \(20, 2\), expected \(20, 3\)"):
        compiled(cell, layer.weights(), torch.zeros(4, 3, 3, dtype=x.dtype), state)
    with pytest.raises(ValueError, match="state c has shape"):
        compiled(cell, layer.weights(), x, state | {"c": torch.zeros(2, 5, dtype=x.dtype)})
    with pytest.raises(ValueError, match="mask has shape"):
        compiled(cell, layer.weights(), x, state, torch.ones(3, 4, dtype=torch.bool))
