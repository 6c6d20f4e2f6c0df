"""The compiled loop as a differentiable function of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.kernels.compiled import memory
from harness.kernels.compiled.kernel import Kernel

Maybe = Tensor | None


def addresses(tensors: Sequence[Maybe], offset: int = 0) -> list[int]:
    """Where tensors begin, `offset` bytes further on; 0 for None."""
    return [0 if tensor is None else tensor.data_ptr() + offset for tensor in tensors]


class Pass:
    """What a pass over the data needs besides the tensors that carry gradients.

    Weights are flat throughout: ``weight_ih, bias, bias_hh, *weight_hh, *units``, contiguous, None where the cell has
    none. The lists of integers made here are the C struct ``Call`` of `template.py`, field by field.

    Args:
        kernel: the cell's kernel.
        x: ``[T, B, I]``, contiguous.
        hidden: units.
        mask: ``[T, B]`` bool, contiguous.
        squares: where the squared norms of the states' gradients go, one ``[T, B]`` float64 a state.
        threads: slices of the batch.
        chunk: steps between the states that are kept when the rest is recomputed; 0 keeps all.
    """

    __slots__ = ("chunk", "hidden", "kernel", "mask", "row", "shape", "squares", "threads")

    def __init__(
        self,
        kernel: Kernel,
        x: Tensor,
        hidden: int,
        mask: Maybe,
        squares: Sequence[Maybe],
        threads: int,
        chunk: int,
    ) -> None:
        self.kernel, self.shape, self.hidden = kernel, x.shape, hidden
        self.mask, self.squares, self.threads, self.chunk = mask, squares, threads, chunk
        self.row = x.shape[1] * hidden * kernel.item
        """Bytes of a state of the whole batch."""

    def common(
        self,
        x: Tensor,
        weights: list[int],
        states: list[int],
        kept: Sequence[bool],
        saved: int,
        span: tuple[int, int],
        stride: int = 0,
    ) -> list[int]:
        """The fields that both directions share, for the steps of `span`."""
        first, last = span
        _, batch, inputs = self.shape
        size = batch * self.hidden
        return [
            last - first, batch, self.hidden, inputs, self.threads, stride,
            *self.kernel.dense,
            x.data_ptr() + first * batch * inputs * self.kernel.item,
            *weights, *states, *(size if keep else 0 for keep in kept),
            saved,
            0 if self.mask is None else self.mask.data_ptr() + first * batch,
        ]  # fmt: skip

    def new_states(self, steps: int, keep: Sequence[bool]) -> list[Tensor]:
        """Storage for the states ``[T + 1, B, H]``, the initial one in row 0, or ``[1, B, H]`` where it is not kept."""
        batch, hidden = self.shape[1], self.hidden
        return [memory.empty((steps + 1 if kept else 1, batch, hidden), self.kernel.dtype) for kept in keep]

    def new_saved(self, steps: int) -> Tensor:
        return memory.empty((steps, self.shape[1], len(self.kernel.plan.saved) * self.hidden), self.kernel.dtype)

    def new_final(self) -> list[Tensor]:
        shape = (self.shape[1], self.hidden)
        return [torch.empty(shape, dtype=self.kernel.dtype) for _ in self.kernel.inner]

    def results(self, states: Sequence[Tensor], final: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (*(states[k].narrow(0, 1, self.shape[0]) for k in self.kernel.outputs), *final)


class Gradients:
    """Sums of weight gradients, one set a thread, those of matrices transposed; only what is wanted takes space."""

    def __init__(self, weights: Sequence[Maybe], wanted: Sequence[bool], threads: int, kernel: Kernel) -> None:
        self.places: list[tuple[torch.Size, int] | None] = []
        total = 0
        for tensor, want in zip(weights, wanted, strict=True):
            if tensor is None or not want:
                self.places.append(None)
            else:
                self.places.append((tensor.shape, total))
                total += tensor.numel()
        self.stride = total
        # By numpy: torch shares such work out to threads that then spin for a millisecond on the cores that the time
        # loop is for.
        self.flat = torch.empty((threads, total), dtype=kernel.dtype)
        self.flat.numpy().fill(0)
        base = self.flat.data_ptr()
        self.addresses = [0 if place is None else base + place[1] * kernel.item for place in self.places]

    def total(self) -> list[Maybe]:
        """The sum over threads, in a fixed order."""
        whole = self.flat if len(self.flat) == 1 else torch.from_numpy(self.flat.numpy().sum(0))
        found: list[Maybe] = []
        for place in self.places:
            if place is None:
                found.append(None)
            else:
                shape, start = place
                strides = (1, shape[0]) if len(shape) == 2 else (1,)
                found.append(whole.as_strided(shape, strides, start))
        return found


class Unroll(torch.autograd.Function):
    """``apply(pass, x, weight_ih, bias, bias_hh, *weight_hh, *units, *states)`` -> outputs over time, final states."""

    @staticmethod
    def forward(ctx: Any, run: Pass, x: Tensor, *tensors: Maybe) -> tuple[Tensor, ...]:
        kernel = run.kernel
        weights, initial = tensors[: kernel.n_weights], tensors[kernel.n_weights :]
        ctx.run = run
        ctx.set_materialize_grads(False)
        steps = run.shape[0]
        final = run.new_final()
        if run.chunk:
            states, kept, marks = forward_in_chunks(run, x, weights, initial, final)
            ctx.save_for_backward(x, *tensors, *(s for s, keep in zip(states, kept, strict=True) if keep), marks)
        else:
            kept = [True] * len(initial)
            states, saved = run.new_states(steps, kept), run.new_saved(steps)
            call = run.common(x, addresses(weights), addresses(states), kept, saved.data_ptr(), (0, steps))
            kernel.forward([*call, *addresses(initial), *addresses(final)])
            ctx.save_for_backward(x, *tensors, *states, saved)
        return run.results(states, final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        run: Pass = ctx.run
        kernel = run.kernel
        x, *rest = ctx.saved_tensors
        n, n_states = kernel.n_weights, len(kernel.inner)
        weights, initial, (*states, last) = rest[:n], rest[n : n + n_states], rest[n + n_states :]
        steps, batch, _ = run.shape
        # a tensor made contiguous lives in this list until C is done
        given = [None if g is None else g.contiguous() for g in grads]
        outer: list[Maybe] = [None] * n_states
        for k, gradient in zip(kernel.outputs, given, strict=False):
            outer[k] = gradient
        carry = torch.empty((n_states, batch, run.hidden), dtype=kernel.dtype)
        carried = [carry.data_ptr() + k * run.row for k in range(n_states)]
        want_x, want = ctx.needs_input_grad[1], ctx.needs_input_grad[2:]
        grad_x = torch.empty_like(x) if want_x and weights[0] is not None else None
        sums = Gradients(weights, want[:n], run.threads, kernel)
        arrived = addresses(given[len(kernel.outputs) :])

        def part(span: tuple[int, int], states: list[int], saved: int, arrived: list[int]) -> None:
            call = run.common(x, pointers, states, [True] * n_states, saved, span, sums.stride)
            item, first = kernel.item, span[0]
            inputs = 0 if grad_x is None else grad_x.data_ptr() + first * batch * run.shape[2] * item
            kernel.backward([
                *call, *nothing, *nothing, *arrived, *addresses(outer, first * run.row), *carried,
                *addresses(run.squares, first * batch * 8), inputs, *sums.addresses,
            ])  # fmt: skip

        pointers, nothing = addresses(weights), [0] * n_states
        if run.chunk:
            local, buffer = run.new_states(run.chunk, [True] * n_states), run.new_saved(run.chunk)
            for first in range((steps - 1) // run.chunk * run.chunk, -1, -run.chunk):
                span = (first, min(first + run.chunk, steps))
                call = run.common(x, pointers, addresses(local), [True] * n_states, buffer.data_ptr(), span)
                kernel.forward([*call, *starts(run, first, initial, states, last), *nothing])
                part(span, addresses(local), buffer.data_ptr(), arrived)
                arrived = carried
        else:
            part((0, steps), addresses(states), last.data_ptr(), arrived)
        if want_x and grad_x is None:
            grad_x = torch.zeros_like(x)
        return (None, grad_x, *sums.total(), *(carry[k] if wanted else None for k, wanted in enumerate(want[n:])))


def forward_in_chunks(
    run: Pass, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Maybe], final: Sequence[Tensor]
) -> tuple[list[Tensor], list[bool], Tensor]:
    """Keep the outputs, and of the other states ``marks [chunks - 1, n, B, H]``: what each chunk but the first starts
    from."""
    kernel, (steps, batch, _) = run.kernel, run.shape
    kept = [not inner for inner in kernel.inner]
    states = run.new_states(steps, kept)
    hidden_states = len(kept) - sum(kept)
    marks = torch.empty(((steps - 1) // run.chunk, hidden_states, batch, run.hidden), dtype=kernel.dtype)
    pointers, nothing = addresses(weights), [0] * len(kept)
    ends = marks.data_ptr()
    for first in range(0, steps, run.chunk):
        span = (first, min(first + run.chunk, steps))
        window = [s.data_ptr() + (first * run.row if keep else 0) for s, keep in zip(states, kept, strict=True)]
        to = addresses(final)
        if span[1] < steps:
            to = []
            for keep in kept:
                to.append(0 if keep else ends)
                ends += 0 if keep else run.row
        call = run.common(x, pointers, window, kept, 0, span)
        kernel.forward([*call, *(nothing if first else addresses(initial)), *to])
    return states, kept, marks


def starts(run: Pass, first: int, initial: Sequence[Maybe], outputs: Sequence[Tensor], marks: Tensor) -> list[int]:
    """Where the states lie that the chunk from step `first` on starts from."""
    if not first:
        return addresses(initial)
    whole = iter(outputs)
    mark = marks[first // run.chunk - 1].data_ptr()
    found = []
    for inner in run.kernel.inner:
        found.append(mark if inner else next(whole).data_ptr() + first * run.row)
        mark += run.row if inner else 0
    return found


def infer(run: Pass, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Maybe]) -> tuple[Tensor, ...]:
    """The same without anything kept for a backward pass."""
    kept = [not inner for inner in run.kernel.inner]
    steps = run.shape[0]
    states, final = run.new_states(steps, kept), run.new_final()
    call = run.common(x, addresses(weights), addresses(states), kept, 0, (0, steps))
    run.kernel.forward([*call, *addresses(initial), *addresses(final)])
    return run.results(states, final)
