"""What every cell must do, whatever its equations. The plain autograd loop is the oracle of every other path."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longlag.cells import Cell, GatedLayer, Stack, StateGradients
from longlag.cells.stack import StackState
from longlag.kernels import Kernel, refusal

I = 3  # noqa: E741  the field's name for the input size
SIZES = {
    "whole-vectors-and-a-rest": (7, 4, 19, torch.float32),  # of the processor: up to 16 units in single precision
    "in-double": (12, 2, 11, torch.float64),
    "one-step-of-one-example": (1, 1, 9, torch.float32),
    "one-unit": (5, 3, 1, torch.float64),
}
"""Where the two loops may differ: steps, examples, units and precision."""


def build(cell: Cell, hidden_size: int = 5, depth: int = 1, seed: int = 0, kernel: Kernel = "plain") -> Stack:
    """A stack with parameters from a seed, run by one kernel."""
    stack = Stack(cell, I, hidden_size, depth, torch.Generator().manual_seed(seed))
    use(stack, kernel)
    return stack


def use(stack: Stack, kernel: Kernel) -> None:
    """Choose the kernel of every gated layer in a stack."""
    for module in stack.modules():
        if isinstance(module, GatedLayer):
            module.kernel = kernel


def flat(state: StackState) -> list[Tensor]:
    """Every tensor of a state, the lowest layer's first."""
    return [tensor for layer in state for tensor in layer.values()]


def random_state(stack: Stack, batch: int, generator: torch.Generator) -> StackState:
    """A state a little away from the initial one: every number that is real and free may be anything."""
    return tuple(
        {
            name: value.detach() + 0.3 * torch.rand(value.shape, generator=generator).to(value.dtype)
            if value.is_floating_point()
            else value
            for name, value in layer.items()
        }
        for layer in stack.initial_state(batch)
    )


def gradients(
    stack: Stack,
    x: Tensor,
    state: StackState | None = None,
    mask: Tensor | None = None,
    weight: Tensor | None = None,
) -> tuple[dict[str, Tensor], list[StateGradients]]:
    """Outputs, final state and all gradients of a loss that weighs every output and every final state."""
    for parameter in stack.parameters():
        parameter.grad = None
    x = x.clone().requires_grad_()
    given = None if state is None else tuple({n: v.clone().requires_grad_() for n, v in s.items()} for s in state)
    records = [StateGradients() for _ in stack.layers]
    outputs, final = stack(x, given, mask, records)
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(outputs.shape, generator=generator).to(outputs.dtype) if weight is None else weight
    loss = (outputs * weight).sum()
    loss = loss + sum(t.square().sum() for t in flat(final) if t.is_floating_point() and t.requires_grad)
    loss.backward()
    result = {"outputs": outputs.detach(), "dL/dx": _grad(x)}
    result.update({f"final {k}": t.detach() for k, t in enumerate(flat(final))})
    result.update({f"dL/d{name}": _grad(p) for name, p in stack.named_parameters()})
    if given is not None:
        result.update({f"dL/dstate {k}": _grad(t) for k, t in enumerate(flat(given))})
    return result, records


def _grad(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def assert_same(got: Mapping[str, Tensor], want: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    """Every named tensor agrees; the tolerance is relative to the largest number of the tensor."""
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        scale = max(1.0, float(tensor.abs().max())) if tensor.numel() else 1.0
        torch.testing.assert_close(got[name], tensor, rtol=rtol, atol=atol * scale, msg=_naming(name))


def _naming(name: str) -> Callable[[str], str]:
    return lambda text: f"{name}: {text}"


class CellConformance:
    """Subclass it and give a fixture ``cell`` that returns a `Cell`."""

    @pytest.fixture
    def cell(self) -> Cell:
        raise NotImplementedError("give a fixture 'cell'")

    @pytest.fixture
    def compiled(self, cell: Cell) -> Cell:
        """The cell, where its layer has a compiled kernel."""
        layers = [m for m in build(cell).modules() if isinstance(m, GatedLayer)]
        if not layers:
            pytest.skip("no gated layer: nothing to compile")
        for layer in layers:
            reason = refusal(layer.cell)
            if reason:
                pytest.skip(reason)
        return cell

    @pytest.fixture
    def random(self) -> torch.Generator:
        return torch.Generator().manual_seed(1)

    def test_shapes_and_state_names(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell, depth=2)
        outputs, state = stack(torch.randn(7, 4, I, generator=random))
        assert outputs.shape == (7, 4, stack.output_size)
        assert len(state) == 2
        for layer, values, start in zip(stack.layers, state, stack.initial_state(4), strict=True):
            assert tuple(values) == layer.state_names
            assert {n: v.shape for n, v in values.items()} == {n: v.shape for n, v in start.items()}
            assert all(v.shape[0] == 4 for v in values.values())

    def test_gradients_against_finite_differences(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell, 3).double()
        names = [name for name, _ in stack.named_parameters()]
        # away from the initial parameters: a ReLU at an exactly zero pre-activation has no derivative
        values = [
            (p.detach() + 0.1 * torch.randn(p.shape, generator=random).double()).requires_grad_()
            for p in stack.parameters()
        ]
        x = torch.randn(4, 2, I, generator=random).double().requires_grad_()
        state = random_state(stack, 2, random)

        def run(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
            weights = dict(zip(names, parameters, strict=True))
            outputs, final = torch.func.functional_call(stack, weights, (x, state))
            return (outputs, *(t for t in flat(final) if t.is_floating_point()))

        assert torch.autograd.gradcheck(run, (x, *values), eps=1e-6, atol=1e-5, rtol=1e-4)

    def test_step_equals_unroll(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell, depth=2).double()
        x = torch.randn(9, 3, I, generator=random).double()
        whole, final = stack(x)
        state, outputs = None, []
        for x_t in x:
            output, state = stack.step(x_t, state)
            outputs.append(output)
        assert state is not None
        torch.testing.assert_close(torch.stack(outputs), whole, rtol=1e-9, atol=1e-9)
        for got, want in zip(flat(state), flat(final), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)

    def test_chunks_equal_the_whole(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell, depth=2).double()
        x = torch.randn(11, 3, I, generator=random).double()
        whole, final = stack(x)
        state, outputs = None, []
        for chunk in x.split([4, 1, 6]):
            part, state = stack(chunk, state)
            outputs.append(part)
        assert state is not None
        torch.testing.assert_close(torch.cat(outputs), whole, rtol=1e-9, atol=1e-9)
        for got, want in zip(flat(state), flat(final), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)

    def test_batch_rows_are_independent(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell).double()
        x = torch.randn(6, 4, I, generator=random).double()
        whole, _ = stack(x)
        for b in range(4):
            alone, _ = stack(x[:, b : b + 1])
            torch.testing.assert_close(alone[:, 0], whole[:, b], rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("kernel", ["plain", "compiled"])
    def test_padding_is_inert(self, cell: Cell, random: torch.Generator, kernel: Kernel, request: Any) -> None:
        """Bit for bit: outputs of existing steps, the final state, and the input's gradient; padding's is zero."""
        if kernel == "compiled":
            request.getfixturevalue("compiled")
        stack = build(cell, kernel=kernel)
        lengths = torch.tensor([8, 8, 8])
        x = torch.randn(8, 3, I, generator=random)
        padded = torch.cat([x, 7 + torch.randn(5, 3, I, generator=random)])
        mask = torch.arange(13)[:, None] < lengths
        weight = torch.randn(8, 3, stack.output_size, generator=random)
        want, _ = gradients(stack, x, weight=weight)
        got, _ = gradients(stack, padded, mask=mask, weight=torch.cat([weight, torch.zeros_like(weight[:5])]))
        assert torch.equal(got["outputs"][:8], want["outputs"])
        assert torch.equal(got["dL/dx"][:8], want["dL/dx"])
        assert not got["dL/dx"][8:].any()
        for name in want:
            if name.startswith("final"):
                assert torch.equal(got[name], want[name]), name
            elif name.startswith("dL/d") and name != "dL/dx":
                torch.testing.assert_close(got[name], want[name], rtol=1e-4, atol=1e-5)

    def test_each_sequence_ends_at_its_own_length(self, cell: Cell, random: torch.Generator) -> None:
        stack = build(cell).double()
        lengths = [3, 8, 5]
        x = torch.randn(8, 3, I, generator=random).double()
        mask = torch.arange(8)[:, None] < torch.tensor(lengths)
        outputs, final = stack(x, None, mask)
        for b, length in enumerate(lengths):
            alone, last = stack(x[:length, b : b + 1])
            torch.testing.assert_close(outputs[:length, b], alone[:, 0], rtol=1e-9, atol=1e-9)
            for got, want in zip(flat(final), flat(last), strict=True):
                torch.testing.assert_close(got[b], want[0], rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(("steps", "batch", "hidden", "dtype"), SIZES.values(), ids=SIZES)
    def test_compiled_equals_plain(
        self, compiled: Cell, random: torch.Generator, steps: int, batch: int, hidden: int, dtype: torch.dtype
    ) -> None:
        """Values, gradients and through-time gradient norms, with a given state and a mask."""
        stack = build(compiled, hidden, depth=2).to(dtype)
        x = torch.randn(steps, batch, I, generator=random).to(dtype)
        state = random_state(stack, batch, random)
        mask = torch.arange(steps)[:, None] <= torch.arange(batch) + steps // 2
        tolerance = 2e-5 if dtype == torch.float32 else 1e-10
        want, plain = gradients(stack, x, state, mask)
        use(stack, "compiled")
        got, fused = gradients(stack, x, state, mask)
        assert_same(got, want, tolerance, tolerance)
        for mine, theirs in zip(fused, plain, strict=True):
            norms = {n: v.sqrt() for n, v in theirs.squares.items()}
            assert_same({n: v.sqrt() for n, v in mine.squares.items()}, norms, 10 * tolerance, tolerance)

    @pytest.mark.parametrize("kernel", ["plain", "compiled"])
    def test_nan_and_infinity_come_through(
        self, cell: Cell, random: torch.Generator, kernel: Kernel, request: Any
    ) -> None:
        """A diverged run must not look healthy: NaN in an input reaches the outputs, in a gradient the weights."""
        if kernel == "compiled":
            request.getfixturevalue("compiled")
        stack = build(cell, kernel=kernel)
        x = torch.randn(6, 3, I, generator=random)
        spoilt = x.clone()
        spoilt[2, 1] = math.nan
        outputs, _ = stack(spoilt)
        assert outputs[2:, 1].isnan().any() and outputs[:, [0, 2]].isfinite().all()
        for value in (math.nan, math.inf):
            weight = torch.ones(6, 3, stack.output_size)
            weight[4, 1] = value
            got, _ = gradients(stack, x, weight=weight)
            found = [name for name, g in got.items() if name.startswith("dL/d") and not g.isfinite().all()]
            assert found, f"a gradient of {value} was swallowed"

    def test_precisions(self, cell: Cell, random: torch.Generator) -> None:
        """Outputs and states have the parameters' type, and in the shorter types nearly the numbers of the longest."""
        x = torch.randn(6, 3, I, generator=random)
        exact, _ = build(cell).double()(x.double())
        for dtype, error in {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.2}.items():
            outputs, state = build(cell).to(dtype)(x.to(dtype))
            assert outputs.dtype == dtype
            assert all(t.dtype == dtype for t in flat(state) if t.is_floating_point())
            torch.testing.assert_close(outputs.double(), exact, rtol=error, atol=error, msg=_naming(str(dtype)))

    def test_same_seed_same_layer_same_numbers(self, cell: Cell, random: torch.Generator) -> None:
        x = torch.randn(6, 3, I, generator=random)
        first, second, other = build(cell, seed=3), build(cell, seed=3), build(cell, seed=4)
        assert torch.equal(first(x)[0], second(x)[0])
        assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))

    def test_saved_and_loaded(self, cell: Cell, random: torch.Generator, tmp_path: Path) -> None:
        first, second = build(cell, seed=3), build(cell, seed=4)
        save_file({n: t.contiguous() for n, t in first.state_dict().items()}, tmp_path / "layer.safetensors")
        second.load_state_dict(load_file(tmp_path / "layer.safetensors"))
        x = torch.randn(6, 3, I, generator=random)
        assert torch.equal(first(x)[0], second(x)[0])

    def test_parameter_count_is_the_stated_one(self, cell: Cell) -> None:
        assert cell.formula, "state the number of parameters: Cell.formula"
        for inputs, hidden in ((3, 5), (2, 8), (8, 8)):
            stated = eval(cell.formula, {"__builtins__": {}}, {"I": inputs, "H": hidden})
            counted = sum(p.numel() for p in cell.layer(inputs, hidden).parameters())
            assert counted == stated, f"{cell.formula} = {stated} at I = {inputs}, H = {hidden}, not {counted}"

    def test_inputs_reach_the_outputs_and_are_remembered(self, cell: Cell, random: torch.Generator) -> None:
        """A cell that ignores its input, or keeps nothing of it, would pass every other test."""
        stack = build(cell, 16).double()
        x = torch.randn(6, 3, I, generator=random).double()
        changed = x.clone()
        changed[0] += 1
        before, after = stack(x)[0], stack(changed)[0]
        assert not torch.equal(before[0], after[0])
        assert torch.equal(before[1:], after[1:]) == cell.memoryless
