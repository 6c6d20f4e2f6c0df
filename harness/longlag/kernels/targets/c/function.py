"""The compiled loop as a differentiable function of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.derived import Adjoint, Derived, once_differentiable
from longlag.kernels.targets.c.kernel import Kernel

Maybe = Tensor | None
Fields = dict[str, int | Sequence[int]]
"""Some fields of a ``Call``."""


def addresses(tensors: Sequence[Maybe], offset: int = 0) -> list[int]:
    """Where tensors begin, `offset` bytes further on; 0 for None."""
    return [0 if tensor is None else tensor.data_ptr() + offset for tensor in tensors]


def address(tensor: Maybe) -> int:
    return 0 if tensor is None else tensor.data_ptr()


class Pass:
    """What a pass over the data needs besides the tensors that carry gradients.

    Weights are flat throughout: ``weight_ih, bias, bias_hh, *weight_hh, *units``, contiguous, None where the cell has
    none, and first where it derives one from other tensors, the *sources*. The states that are outputs stand side by
    side in one tensor ``[T + 1, B, n H]``, the initial ones in row 0; each of the others has a tensor of its own,
    ``[T + 1, B, H]``, or ``[1, B, H]`` where its past is not kept. The mappings made here hold fields of the C
    struct ``Call`` of `call.h`, by their names there.

    Args:
        kernel: the cell's kernel.
        x: ``[T, B, I]``, contiguous.
        hidden: units.
        mask: ``[T, B]`` bool, contiguous.
        squares: where the squared norms of the states' gradients go, one ``[T, B]`` float64 a state.
        threads: slices of the batch.
        chunk: steps between the states that are kept when the rest is recomputed; 0 keeps all.
        derived: the weights to be derived, by their places.
    """

    __slots__ = ("chunk", "derived", "hidden", "kernel", "leads", "mask", "row", "shape", "squares", "strides",
                 "threads", "unit")  # fmt: skip

    def __init__(
        self,
        kernel: Kernel,
        x: Tensor,
        hidden: int,
        mask: Maybe,
        squares: Sequence[Maybe],
        threads: int,
        chunk: int,
        derived: Sequence[tuple[int, Derived]] = (),
    ) -> None:
        self.kernel, self.shape, self.hidden = kernel, x.shape, hidden
        self.mask, self.squares, self.threads, self.chunk, self.derived = mask, squares, threads, chunk, derived
        self.unit = hidden * kernel.item
        """Bytes of a state of one example."""
        self.row = x.shape[1] * self.unit
        """Bytes of a state of the whole batch."""
        self.leads = [hidden * lead for lead in kernel.leads]
        self.strides = [x.shape[1] * lead for lead in self.leads]
        """From step to step, of every state."""

    def common(
        self, x: Tensor, weights: list[int], states: list[int], past: bool, saved: int, span: tuple[int, int],
    ) -> Fields:  # fmt: skip
        """The fields that both directions share, for the steps of `span`; `past`: whether every state's is kept."""
        first, last = span
        _, batch, inputs = self.shape
        return {
            "T": last - first, "B": batch, "H": self.hidden, "I": inputs, "threads": self.threads,
            **self.kernel.dense,
            "x": x.data_ptr() + first * batch * inputs * self.kernel.item,
            **self.kernel.weight_fields("", weights),
            "state": states, "stride": self.strides if past else self.only_outputs(), "lead": self.leads,
            "saved": saved,
            "mask": 0 if self.mask is None else self.mask.data_ptr() + first * batch,
        }  # fmt: skip

    def only_outputs(self) -> list[int]:
        """The strides where of the other states no past is kept."""
        return [0 if inner else stride for stride, inner in zip(self.strides, self.kernel.inner, strict=True)]

    def derive(self, weights: Sequence[Maybe]) -> tuple[list[Maybe], list[Adjoint]]:
        """All weights, and the adjoints of those that were derived.

        Raises:
            ValueError: when one has the wrong dtype or shape.
        """
        found, adjoints = list(weights), []
        for place, derived in self.derived:
            weight, adjoint = derived.compute(*derived.inputs)
            if weight.dtype != self.kernel.dtype:
                raise ValueError(f"a derived weight is {weight.dtype}, expected {self.kernel.dtype}")
            self.kernel.check_shapes((self.shape[1], self.shape[2], self.hidden), (weight,), place)
            found[place] = weight.contiguous()
            adjoints.append(adjoint)
        return found, adjoints

    def new_outputs(self, steps: int) -> Tensor:
        return memory.empty((steps + 1, self.shape[1], len(self.kernel.outputs) * self.hidden), self.kernel.dtype)

    def new_inner(self, steps: int) -> list[Tensor]:
        """For the states that are no outputs; for 0 steps: without their past."""
        shape = (steps + 1, self.shape[1], self.hidden)
        return [memory.empty(shape, self.kernel.dtype) for inner in self.kernel.inner if inner]

    def new_saved(self, steps: int) -> Maybe:
        if not self.kernel.plan.saved:
            return None
        return memory.empty((steps, self.shape[1], len(self.kernel.plan.saved) * self.hidden), self.kernel.dtype)

    def new_final(self, like: Tensor) -> list[Tensor]:
        return [like.new_empty(self.shape[1], self.hidden) for _ in self.kernel.inner]

    def by_state(self, outputs: Maybe, others: Sequence[Maybe], first: int = 0) -> list[int]:
        """Where every state lies, in their order: in `outputs`, from step `first` on, or in one of `others`."""
        found = [0] * len(self.kernel.inner)
        if outputs is not None:
            start = outputs.data_ptr() + first * self.row * len(self.kernel.outputs)
            for k, place in enumerate(self.kernel.outputs):
                found[place] = start + k * self.unit
        for place, tensor in zip(self.kernel.others, others, strict=False):
            found[place] = 0 if tensor is None else tensor.data_ptr()
        return found


class Gradients:
    """Sums of weight gradients, one set a thread; only what is wanted takes space."""

    def __init__(self, weights: Sequence[Maybe], wanted: Sequence[bool], threads: int, like: Tensor) -> None:
        places: list[tuple[torch.Size, int] | None] = []
        total = 0
        for tensor, want in zip(weights, wanted, strict=True):
            if tensor is None or not want:
                places.append(None)
            else:
                places.append((tensor.shape, total))
                total += tensor.numel()
        self.places, self.stride = places, total
        self.flat = like.new_empty(threads, total)
        base, item = self.flat.data_ptr(), like.itemsize
        self.base = base if total else 0
        self.addresses = [0 if place is None else base + place[1] * item for place in places]

    def total(self) -> list[Maybe]:
        """The sum over threads, in a fixed order."""
        # By numpy: torch shares such work out to threads that then spin for a millisecond on the cores that the time
        # loop is for.
        whole = self.flat if self.flat.shape[0] == 1 else torch.from_numpy(self.flat.numpy().sum(0))
        found: list[Maybe] = []
        for place in self.places:
            if place is None:
                found.append(None)
            else:
                shape, start = place
                strides = (shape[1], 1) if len(shape) == 2 else (1,)
                found.append(whole.as_strided(shape, strides, start))
        return found


class Unroll(torch.autograd.Function):
    """``apply(pass, x, weight_ih, bias, bias_hh, *weight_hh, *units, *states, *sources)`` -> outputs over time, final
    states."""

    @staticmethod
    def forward(ctx: Any, run: Pass, x: Tensor, *tensors: Maybe) -> tuple[Tensor, ...]:
        kernel, steps = run.kernel, run.shape[0]
        n, m = kernel.n_weights, kernel.n_weights + len(kernel.inner)
        initial, sources = tensors[n:m], tensors[m:]
        weights, ctx.adjoints = run.derive(tensors[:n])
        ctx.run = run
        ctx.set_materialize_grads(False)
        final, outputs = run.new_final(x), run.new_outputs(steps)
        if run.chunk:
            marks = forward_in_chunks(run, x, weights, initial, outputs, final)
            ctx.save_for_backward(x, *weights, *initial, *sources, outputs, marks)
        else:
            inner, saved = run.new_inner(steps), run.new_saved(steps)
            states = run.by_state(outputs, inner)
            call = run.common(x, addresses(weights), states, True, address(saved), (0, steps))
            kernel.forward(call | {"initial": addresses(initial), "final": addresses(final)})
            ctx.save_for_backward(x, *weights, *initial, *sources, outputs, *inner, saved)
        return (outputs.narrow(0, 1, steps), *final)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        run: Pass = ctx.run
        kernel = run.kernel
        x, *rest = ctx.saved_tensors
        n, n_states = kernel.n_weights, len(kernel.inner)
        m, k = n + n_states, len(ctx.needs_input_grad) - 2  # the sources are kept so that torch guards them
        weights, initial, (outputs, *inner, last) = rest[:n], rest[n:m], rest[k:]
        steps, batch, inputs = run.shape
        # a tensor made contiguous lives in this list until C is done
        given = [None if g is None else g.contiguous() for g in grads]
        carry = x.new_empty(n_states, batch, run.hidden)
        carried = [carry.data_ptr() + k * run.row for k in range(n_states)]
        want_x, want = ctx.needs_input_grad[1], ctx.needs_input_grad[2:]
        if run.derived:
            places = {place for place, _ in run.derived}
            want = [place in places or wanted for place, wanted in enumerate(want)]
        grad_x = torch.empty_like(x) if want_x and weights[0] is not None else None
        sums = Gradients(weights, want[:n], run.threads, x)
        pointers = addresses(weights)

        def part(span: tuple[int, int], states: list[int], saved: int, arrived: list[int]) -> None:
            call, first = run.common(x, pointers, states, True, saved, span), span[0]
            kernel.backward(call | {
                "grad_final": arrived, "grad_output": run.by_state(given[0], (), first), "grad_state": carried,
                "squares": addresses(run.squares, first * batch * 8),
                "grad_x": 0 if grad_x is None else grad_x.data_ptr() + first * batch * inputs * kernel.item,
                "grad_stride": sums.stride, "grad_weights": sums.base if span[1] == steps else 0,
                **kernel.weight_fields("grad_", sums.addresses),
            })  # fmt: skip

        arrived = addresses(given[1:])
        if run.chunk:
            local, buffer = run.new_inner(run.chunk), run.new_saved(run.chunk)
            for first in range((steps - 1) // run.chunk * run.chunk, -1, -run.chunk):
                span = (first, min(first + run.chunk, steps))
                states = run.by_state(outputs, local, first)  # the outputs are written again, bit for bit the same
                call = run.common(x, pointers, states, True, address(buffer), span)
                start = run.by_state(None, last[first // run.chunk - 1].unbind()) if first else addresses(initial)
                kernel.forward(call | {"initial": start})
                part(span, states, address(buffer), arrived)
                arrived = carried
        else:
            part((0, steps), run.by_state(outputs, inner), address(last), arrived)
        if want_x and grad_x is None:
            grad_x = torch.zeros_like(x)
        totals, of_sources = sums.total(), []
        for (place, _), adjoint in zip(run.derived, ctx.adjoints, strict=True):
            of_sources += adjoint(totals[place])
            totals[place] = None
        of_states = [carry[k] if wanted else None for k, wanted in enumerate(want[n:m])]
        return (None, grad_x, *totals, *of_states, *of_sources)


def forward_in_chunks(
    run: Pass, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Maybe], outputs: Tensor, final: Sequence[Tensor]
) -> Tensor:
    """Keep the outputs, and of the other states what each chunk but the first starts from.

    Returns:
        Those, ``[chunks - 1, n, B, H]``.
    """
    kernel, (steps, batch, _) = run.kernel, run.shape
    inner = run.new_inner(0)
    marks = torch.empty(((steps - 1) // run.chunk, len(inner), batch, run.hidden), dtype=kernel.dtype)
    pointers, start = addresses(weights), addresses(initial)
    for first in range(0, steps, run.chunk):
        span = (first, min(first + run.chunk, steps))
        call = run.common(x, pointers, run.by_state(outputs, inner, first), False, 0, span)
        ends = addresses(final) if span[1] == steps else run.by_state(None, marks[first // run.chunk].unbind())
        kernel.forward(call | {"initial": start, "final": ends})
        start = [0] * len(final)  # what a chunk ends in stands where the next one looks for it
    return marks


def infer(run: Pass, x: Tensor, weights: Sequence[Maybe], initial: Sequence[Maybe]) -> tuple[Tensor, ...]:
    """The same without anything kept for a backward pass."""
    steps, final = run.shape[0], run.new_final(x)
    outputs, inner = run.new_outputs(steps), run.new_inner(0)
    whole, _ = run.derive(weights)
    call = run.common(x, addresses(whole), run.by_state(outputs, inner), False, 0, (0, steps))
    run.kernel.forward(call | {"initial": addresses(initial), "final": addresses(final)})
    return (outputs.narrow(0, 1, steps), *final)
