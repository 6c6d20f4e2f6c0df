"""The kernel of the C target: where the tensors of a pass lie, and the calls in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.compiler.plan import Plan
from longlag.kernels.targets.c.call import Field
from longlag.kernels.targets.c.kernel import Library
from longlag.kernels.targets.target import Kernel, Maybe, Pass

ROWS_PER_THREAD = 8
WORK_PER_THREAD = 1e8
"""Multiplications of a whole pass below which a second thread costs more than it brings."""


class CKernel(Kernel):
    """A plan in C, built for one dtype."""

    def __init__(self, plan: Plan, dtype: torch.dtype, library: Library) -> None:
        super().__init__(plan, dtype)
        self.library = library
        self.saves = bool(plan.saved) or bool(library.others)
        """Whether a pass saves more than its outputs: else there is nothing to compute again."""

    def start(
        self,
        x: Tensor,
        initial: Sequence[Tensor],
        mask: Maybe,
        squares: Sequence[Maybe],
        checkpoint_steps: int | None,
    ) -> CPass:
        chunk = checkpoint_steps if checkpoint_steps and checkpoint_steps < x.shape[0] and self.saves else 0
        hidden = initial[0].shape[-1]
        return CPass(self.library, x, hidden, mask, squares, self.threads(x.shape, hidden), chunk)

    def threads(self, shape: torch.Size, hidden: int) -> int:
        """How many slices of the batch run at a time: one where the work is small."""
        available = torch.get_num_threads()
        if available == 1 or not self.library.blas.threads_are_local:
            return 1
        plan = self.plan
        steps, batch, inputs = shape
        per_row = hidden * (len(plan.slots) * (inputs + 10) + sum(t.count for t in plan.terms) * hidden)
        most = min(available, batch // ROWS_PER_THREAD, int(steps * batch * per_row / WORK_PER_THREAD))
        return max(1, most)


def addresses(tensors: Sequence[Maybe], offset: int = 0) -> list[int]:
    """Where tensors begin, `offset` bytes further on; 0 for None."""
    return [0 if tensor is None else tensor.data_ptr() + offset for tensor in tensors]


def address(tensor: Maybe) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class States(NamedTuple):
    """How the states lie in memory.

    Args:
        row: bytes of a state of the whole batch.
        leads: from example to example, of every state, in numbers.
        strides: from step to step.
        outputs_only: the same where of the other states no past is kept.
        offsets: of every output, bytes from the start of an example.
    """

    row: int
    leads: list[int]
    strides: list[int]
    outputs_only: list[int]
    offsets: list[tuple[int, int]]


@lru_cache(maxsize=256)
def states_of(library: Library, batch: int, hidden: int) -> States:
    """Computed once for a batch size and number of units: such arithmetic takes a hundredth of a short pass."""
    unit = hidden * library.item
    leads = [hidden * lead for lead in library.leads]
    strides = [batch * lead for lead in leads]
    outputs_only = [0 if inner else stride for stride, inner in zip(strides, library.inner, strict=True)]
    offsets = [(index, k * unit) for k, index in enumerate(library.outputs)]
    return States(batch * unit, leads, strides, outputs_only, offsets)


class CPass(Pass):
    """A run of a C kernel over one batch.

    The states that are outputs lie side by side in one tensor ``[T + 1, B, n H]``, the initial ones in row 0; each of
    the others has a tensor of its own, ``[T + 1, B, H]``, or ``[1, B, H]`` where its past is not kept.

    Args:
        library: of the cell.
        x: ``[T, B, I]``, contiguous.
        hidden: units.
        mask: ``[T, B]`` bool, contiguous.
        squares: where the squared norms of the states' gradients go, one ``[T, B]`` float64 a state.
        threads: slices of the batch.
        chunk: steps between the states that are kept when the rest is recomputed; 0 keeps all.
    """

    __slots__ = ("chunk", "hidden", "library", "mask", "shape", "squares", "states", "threads")

    def __init__(
        self,
        library: Library,
        x: Tensor,
        hidden: int,
        mask: Maybe,
        squares: Sequence[Maybe],
        threads: int,
        chunk: int,
    ) -> None:
        self.library, self.shape, self.hidden = library, x.shape, hidden
        self.mask, self.squares, self.threads, self.chunk = mask, squares, threads, chunk
        self.states = states_of(library, x.shape[1], hidden)

    def forward(
        self, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Tensor], keep: bool
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Maybe]]:
        steps, final = self.shape[0], [x.new_empty(self.shape[1], self.hidden) for _ in initial]
        outputs = self.new_outputs(steps)
        saved: list[Maybe] = []
        if keep and self.chunk:
            saved = [outputs, self.forward_in_chunks(x, weights, initial, outputs, final)]
        else:
            inner, values = self.new_inner(steps if keep else 0), self.new_saved(steps) if keep else None
            states = self.by_state(outputs, inner)
            call = self.common(x, addresses(weights), states, keep, address(values), (0, steps))
            self.library.forward(*call, addresses(initial), addresses(final))
            if keep:
                saved = [outputs, *inner, values]
        return outputs.narrow(0, 1, steps), final, saved

    def forward_in_chunks(
        self, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Tensor], outputs: Tensor, final: Sequence[Tensor]
    ) -> Tensor:
        """Keep the outputs, and of the other states what each chunk but the first starts from.

        Returns:
            Those, ``[chunks - 1, n, B, H]``.
        """
        steps, batch, _ = self.shape
        inner = self.new_inner(0)
        starts = torch.empty(((steps - 1) // self.chunk, len(inner), batch, self.hidden), dtype=self.library.dtype)
        pointers, start, nothing = addresses(weights), addresses(initial), [0] * len(final)
        for first in range(0, steps, self.chunk):
            span = (first, min(first + self.chunk, steps))
            call = self.common(x, pointers, self.by_state(outputs, inner, first), False, 0, span)
            last = span[1] == steps
            ends = addresses(final) if last else self.by_state(None, starts[first // self.chunk].unbind())
            self.library.forward(*call, start, ends)
            start = nothing  # the last states of a chunk are where the next one begins
        return starts

    def backward(
        self,
        x: Tensor,
        weights: Sequence[Maybe],
        initial: Sequence[Tensor],
        saved: Sequence[Maybe],
        by_outputs: Maybe,
        by_final: Sequence[Maybe],
        need_x: bool,
        need: Sequence[bool],
    ) -> tuple[Maybe, list[Maybe], Sequence[Maybe]]:
        steps, batch, inputs = self.shape
        outputs, *inner, last = saved
        assert outputs is not None
        carry = x.new_empty(len(initial), batch, self.hidden)
        begin = carry.data_ptr()
        carried = [begin + k * self.states.row for k in range(len(initial))]
        by_x = torch.empty_like(x) if need_x and weights[0] is not None else None
        sums = Gradients(weights, need, self.threads, x)
        pointers = addresses(weights)

        def part(span: tuple[int, int], states: list[int], values: int, arrived: list[int]) -> None:
            call, first = self.common(x, pointers, states, True, values, span), span[0]
            self.library.backward(
                *call, arrived, self.by_state(by_outputs, (), first), carried,
                addresses(self.squares, first * batch * 8),
                0 if by_x is None else by_x.data_ptr() + first * batch * inputs * self.library.item,
                sums.layout.total, sums.base if span[1] == steps else 0, sums.addresses,
            )  # fmt: skip

        arrived = addresses(by_final)
        if self.chunk:
            assert last is not None
            local, buffer = self.new_inner(self.chunk), self.new_saved(self.chunk)
            for first in range((steps - 1) // self.chunk * self.chunk, -1, -self.chunk):
                span = (first, min(first + self.chunk, steps))
                states = self.by_state(outputs, local, first)  # the outputs are written again, bit for bit the same
                call = self.common(x, pointers, states, True, address(buffer), span)
                start = self.by_state(None, last[first // self.chunk - 1].unbind()) if first else addresses(initial)
                self.library.forward(*call, start, [0] * len(initial))
                part(span, states, address(buffer), arrived)
                arrived = carried
        else:
            part((0, steps), self.by_state(outputs, inner), address(last), arrived)
        by_initial = [carry[k] if needed else None for k, needed in enumerate(need[len(weights) :])]
        return by_x, sums.total(), by_initial

    def common(
        self, x: Tensor, weights: list[int], states: list[int], past: bool, saved: int, span: tuple[int, int]
    ) -> tuple[Field, ...]:
        """The fields `SHARED`, for the steps of `span`; `past`: whether every state's is kept."""
        first, last = span
        _, batch, inputs = self.shape
        return (
            last - first, batch, self.hidden, inputs, self.threads,
            x.data_ptr() + first * batch * inputs * self.library.item, weights,
            states, self.states.strides if past else self.states.outputs_only, self.states.leads, saved,
            0 if self.mask is None else self.mask.data_ptr() + first * batch,
        )  # fmt: skip

    def new_outputs(self, steps: int) -> Tensor:
        return memory.empty((steps + 1, self.shape[1], len(self.library.outputs) * self.hidden), self.library.dtype)

    def new_inner(self, steps: int) -> list[Tensor]:
        """For the states that are no outputs; for 0 steps: without their past."""
        shape = (steps + 1, self.shape[1], self.hidden)
        return [memory.empty(shape, self.library.dtype) for _ in self.library.others]

    def new_saved(self, steps: int) -> Maybe:
        if not self.library.n_saved:
            return None
        return memory.empty((steps, self.shape[1], self.library.n_saved * self.hidden), self.library.dtype)

    def by_state(self, outputs: Maybe, others: Sequence[Maybe], first: int = 0) -> list[int]:
        """Where every state lies, in their order: in `outputs`, from step `first` on, or in one of `others`."""
        found = [0] * len(self.library.inner)
        if outputs is not None:
            offsets = self.states.offsets
            start = outputs.data_ptr() + first * self.states.row * len(offsets)
            for index, distance in offsets:
                found[index] = start + distance
        for index, tensor in zip(self.library.others, others, strict=False):
            found[index] = 0 if tensor is None else tensor.data_ptr()
        return found


class GradientLayout(NamedTuple):
    """Where the gradients of weights lie in one set.

    Args:
        total: numbers of a set.
        starts: bytes from its beginning to every weight's; None where none is needed.
        views: shape, strides and start of every weight's, in numbers; None likewise.
    """

    total: int
    starts: list[int | None]
    views: list[tuple[torch.Size, tuple[int, ...], int] | None]


@lru_cache(maxsize=256)
def gradient_layout(shapes: tuple[torch.Size | None, ...], item: int) -> GradientLayout:
    """The layout for weights of these shapes, None where no gradient is needed; `item`: bytes of a number."""
    starts: list[int | None] = []
    views: list[tuple[torch.Size, tuple[int, ...], int] | None] = []
    total = 0
    for shape in shapes:
        starts.append(None if shape is None else total * item)
        views.append(None if shape is None else (shape, (shape[1], 1) if len(shape) == 2 else (1,), total))
        total += 0 if shape is None else shape.numel()
    return GradientLayout(total, starts, views)


class Gradients:
    """Sums of weight gradients, one set a thread; only what is needed takes space. `needed` may be longer."""

    def __init__(self, weights: Sequence[Maybe], needed: Sequence[bool], threads: int, like: Tensor) -> None:
        shapes = [w.shape if need and w is not None else None for w, need in zip(weights, needed, strict=False)]
        self.layout = gradient_layout(tuple(shapes), like.itemsize)
        self.flat = like.new_empty(threads, self.layout.total)
        base = self.flat.data_ptr()
        self.base = base if self.layout.total else 0
        self.addresses = [0 if start is None else base + start for start in self.layout.starts]

    def total(self) -> list[Maybe]:
        """The sum over threads, in a fixed order."""
        # By numpy: torch would use its own threads, which spin for a millisecond after it on the cores that the time
        # loop runs on.
        whole = self.flat if self.flat.shape[0] == 1 else torch.from_numpy(self.flat.numpy().sum(0))
        return [None if view is None else whole.as_strided(*view) for view in self.layout.views]
