"""What every kernel target must do with a cell that it takes. The plain autograd loop is the oracle."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from longlag.cells import Cell, Looped
from longlag.kernels import Kernel, refusal
from longlag.testing.stacks import (
    I,
    assert_not_finite_comes_through,
    assert_padding_is_inert,
    assert_same,
    build,
    gradients,
    random_state,
    use,
)

SIZES = {
    "whole-vectors-and-a-rest": (7, 4, 19, torch.float32),  # of the processor: up to 16 units in single precision
    "in-double": (12, 2, 11, torch.float64),
    "one-step-of-one-example": (1, 1, 9, torch.float32),
    "one-unit": (5, 3, 1, torch.float64),
}
"""Where the two loops may differ: steps, examples, units and precision."""


class KernelConformance:
    """Subclass it, name the target, and give a fixture ``cell`` that returns a `Cell`.

    Attributes:
        target: the kernel that is tested: ``compiled`` for the best target on the CPU, or a target's name.
    """

    target: ClassVar[Kernel] = "compiled"

    @pytest.fixture
    def cell(self) -> Cell:
        raise NotImplementedError("give a fixture 'cell'")

    @pytest.fixture
    def random(self) -> torch.Generator:
        return torch.Generator().manual_seed(1)

    @pytest.fixture
    def compiled(self, cell: Cell) -> Cell:
        """The cell, where the target takes it."""
        layers = [m for m in build(cell).modules() if isinstance(m, Looped)]
        if not layers:
            pytest.skip("no layer with a core: nothing to compile")
        for layer in layers:
            reason = refusal(layer.cell, kernel=self.target)
            if reason:
                pytest.skip(reason)
        return cell

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
        use(stack, self.target)
        got, fused = gradients(stack, x, state, mask)
        assert_same(got, want, tolerance, tolerance)
        for mine, theirs in zip(fused, plain, strict=True):
            norms = {n: v.sqrt() for n, v in theirs.squares.items()}
            assert_same({n: v.sqrt() for n, v in mine.squares.items()}, norms, 10 * tolerance, tolerance)

    def test_recomputation_changes_no_gradient(self, compiled: Cell, random: torch.Generator) -> None:
        """``checkpoint_steps`` saves memory and nothing else."""
        stack = build(compiled, kernel=self.target).double()
        x = torch.randn(11, 3, I, generator=random).double()
        mask = torch.arange(11)[:, None] < torch.tensor([11, 5, 8])
        want, whole = gradients(stack, x, None, mask)
        for steps in (1, 4, 10):
            use(stack, self.target, steps)
            got, parts = gradients(stack, x, None, mask)
            assert_same(got, want, 1e-12, 1e-12)
            for mine, theirs in zip(parts, whole, strict=True):
                assert_same(mine.squares, theirs.squares, 1e-12, 1e-12)

    def test_padding_is_inert_compiled(self, compiled: Cell, random: torch.Generator) -> None:
        assert_padding_is_inert(build(compiled, kernel=self.target), random)

    def test_nan_and_infinity_come_through_compiled(self, compiled: Cell, random: torch.Generator) -> None:
        assert_not_finite_comes_through(build(compiled, kernel=self.target), random)
