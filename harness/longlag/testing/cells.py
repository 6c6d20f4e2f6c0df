"""What every cell must do, whatever its equations. The plain autograd loop is the oracle of every other path."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from longlag.cells import Cell
from longlag.testing.kernels import KernelConformance
from longlag.testing.stacks import (
    I,
    assert_not_finite_comes_through,
    assert_padding_is_inert,
    build,
    flat,
    naming,
    random_state,
)


class CellConformance(KernelConformance):
    """Subclass it and give a fixture ``cell`` that returns a `Cell`."""

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

        assert torch.autograd.gradcheck(run, (x, *values), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)

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

    def test_padding_is_inert(self, cell: Cell, random: torch.Generator) -> None:
        assert_padding_is_inert(build(cell), random)

    def test_nan_and_infinity_come_through(self, cell: Cell, random: torch.Generator) -> None:
        assert_not_finite_comes_through(build(cell), random)

    def test_precisions(self, cell: Cell, random: torch.Generator) -> None:
        """Outputs and states have the parameters' type, and in the shorter types nearly the numbers of the longest."""
        x = torch.randn(6, 3, I, generator=random)
        exact, _ = build(cell).double()(x.double())
        for dtype, error in {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 0.2}.items():
            outputs, state = build(cell).to(dtype)(x.to(dtype))
            assert outputs.dtype == dtype
            assert all(t.dtype == dtype for t in flat(state) if t.is_floating_point())
            torch.testing.assert_close(outputs.double(), exact, rtol=error, atol=error, msg=naming(str(dtype)))

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
