"""The compiled loop as a differentiable function of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.kernels.compiled.kernel import Kernel
from harness.kernels.recurrence import Weights

Maybe = Tensor | None


@dataclass(frozen=True)
class Packed:
    """`Weights` as the kernel takes them: contiguous, the per-unit parameters in the cell's order."""

    weight_ih: Maybe
    bias: Maybe
    bias_hh: Maybe
    weight_hh: tuple[Tensor, ...]
    units: tuple[Tensor, ...]

    @classmethod
    def of(cls, weights: Weights, units: tuple[str, ...]) -> Packed:
        return cls.from_flat(
            [weights.weight_ih, weights.bias, weights.bias_hh, *weights.weight_hh, *(weights.units[n] for n in units)],
            len(weights.weight_hh),
        )

    @classmethod
    def from_flat(cls, flat: Sequence[Maybe], products: int) -> Packed:
        rest = tuple(t for t in flat[3:] if t is not None)
        return cls(flat[0], flat[1], flat[2], rest[:products], rest[products:])

    def flat(self) -> tuple[Maybe, ...]:
        return (self.weight_ih, self.bias, self.bias_hh, *self.weight_hh, *self.units)


@dataclass(frozen=True)
class Pass:
    """What a pass over the data needs besides the tensors that carry gradients.

    Args:
        kernel: the cell's kernel.
        mask: ``[T, B]`` bool, contiguous.
        squares: where the squared norms of the states' gradients go, one ``[T, B]`` float64 a state.
        threads: slices of the batch.
        chunk: steps between the states that are kept when the rest is recomputed; 0 keeps all.
    """

    kernel: Kernel
    mask: Maybe
    squares: tuple[Maybe, ...]
    threads: int
    chunk: int

    def common(self, x: Tensor, weights: Packed, first: int, states: Sequence[Tensor]) -> dict[str, Any]:
        """The fields of ``Call`` that both directions share, for the steps from `first` on."""
        steps, batch, inputs = x.shape
        return {
            "T": steps, "B": batch, "H": states[0].shape[-1], "I": inputs, "threads": self.threads,
            "x": x, "weight_ih": weights.weight_ih, "bias": weights.bias, "bias_hh": weights.bias_hh,
            "weight_hh": weights.weight_hh, "unit": weights.units, "state": states,
            "stride": [0 if len(s) == 1 else s[0].numel() for s in states],
            "mask": None if self.mask is None else self.mask[first : first + steps],
        }  # fmt: skip

    def forward(self, x: Tensor, weights: Packed, states: Sequence[Tensor], saved: Maybe, first: int = 0) -> None:
        """Fill ``states [T + 1, B, H]`` from row 0 (or update ``[1, B, H]``), and `saved`."""
        call = self.kernel.call(**self.common(x, weights, first, states), saved=saved)
        self.kernel.run("forward", call)

    def new_saved(self, x: Tensor, hidden: int) -> Tensor:
        return x.new_empty(len(x), x.shape[1], len(self.kernel.plan.saved) * hidden)

    def backward(
        self,
        x: Tensor,
        weights: Packed,
        states: Sequence[Tensor],
        saved: Tensor,
        grad_outputs: Sequence[Maybe],
        carry: Sequence[Tensor],
        grad_x: Maybe,
        sums: Gradients,
        first: int = 0,
    ) -> None:
        """From ``carry [B, H]``, the gradients of the final states, to those of the initial ones, in place."""
        part = slice(first, first + len(x))
        call = self.kernel.call(
            **self.common(x, weights, first, states),
            saved=saved,
            grad_output=[None if g is None else g[part] for g in grad_outputs],
            grad_state=carry,
            squares=[None if s is None else s[part] for s in self.squares],
            grad_x=None if grad_x is None else grad_x[part],
            grad_stride=sums.flat.shape[1],
            grad_weight_ih=sums.views.weight_ih,
            grad_bias=sums.views.bias,
            grad_bias_hh=sums.views.bias_hh,
            grad_weight_hh=sums.pointers_hh,
            grad_unit=sums.pointers_units,
        )
        self.kernel.run("backward", call)


class Gradients:
    """Sums of weight gradients, one set a thread, those of matrices transposed; only what is wanted takes space."""

    def __init__(self, weights: Packed, wanted: Sequence[bool], threads: int) -> None:
        self.shapes = [
            t.shape if t is not None and want else None for t, want in zip(weights.flat(), wanted, strict=True)
        ]
        total = sum(shape.numel() for shape in self.shapes if shape is not None)
        like = next(t for t in weights.flat() if t is not None)
        self.flat = like.new_zeros(threads, max(total, 1))
        views = self.split(self.flat[0])
        self.views = Packed(views[0], views[1], views[2], (), ())
        products = len(weights.weight_hh)
        self.pointers_hh, self.pointers_units = views[3 : 3 + products], views[3 + products :]

    def split(self, flat: Tensor) -> list[Maybe]:
        result: list[Maybe] = []
        start = 0
        for shape in self.shapes:
            result.append(None if shape is None else flat[start : start + shape.numel()].view(shape[::-1]))
            start += 0 if shape is None else shape.numel()
        return result

    def total(self) -> list[Maybe]:
        """The sum over threads, in a fixed order."""
        whole = self.flat[0] if len(self.flat) == 1 else self.flat.sum(0)
        return [None if t is None else t.t() for t in self.split(whole)]


class Unroll(torch.autograd.Function):
    """``apply(pass, x, weight_ih, bias, bias_hh, *weight_hh, *units, *states)`` -> outputs over time, final states."""

    @staticmethod
    def forward(ctx: Any, run: Pass, x: Tensor, *tensors: Maybe) -> tuple[Tensor, ...]:
        plan = run.kernel.plan
        weights = Packed.from_flat(tensors[: -len(plan.states)], plan.products)
        initial = [t for t in tensors[-len(plan.states) :] if t is not None]
        steps, hidden = len(x), initial[0].shape[-1]
        ctx.run = run
        ctx.set_materialize_grads(False)
        saved: Maybe = None
        marks: list[Tensor] = []
        if run.chunk:
            keep = [name in run.kernel.plan.outputs for name in plan.states]
            states = history(initial, steps, keep)
            for first in range(0, steps, run.chunk):
                last = min(first + run.chunk, steps)
                marks.extend(s[0].clone() for s, kept in zip(states, keep, strict=True) if not kept)
                window = [s[first : last + 1] if kept else s for s, kept in zip(states, keep, strict=True)]
                run.forward(x[first:last], weights, window, None, first)
        else:
            states = history(initial, steps, [True] * len(initial))
            saved = run.new_saved(x, hidden)
            run.forward(x, weights, states, saved)
        ctx.save_for_backward(x, *weights.flat(), *states, saved, *marks)
        return results(run, states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Maybe) -> tuple[Maybe, ...]:
        run: Pass = ctx.run
        plan = run.kernel.plan
        outputs = run.kernel.plan.outputs
        n_weights, n_states = 3 + plan.products + len(plan.units), len(plan.states)
        x, *rest = ctx.saved_tensors
        weights = Packed.from_flat(rest[:n_weights], plan.products)
        states, (saved, *marks) = rest[n_weights : n_weights + n_states], rest[n_weights + n_states :]
        by_name = {name: g for name, g in zip(outputs, grads, strict=False) if g is not None}
        grad_outputs = [by_name[name].contiguous() if name in by_name else None for name in plan.states]
        shape = states[0].shape[1:]
        carry = [
            x.new_zeros(shape) if g is None else g.clone(memory_format=torch.contiguous_format)
            for g in grads[len(outputs) :]
        ]
        want_x, want = ctx.needs_input_grad[1], ctx.needs_input_grad[2:]
        grad_x = torch.empty_like(x) if want_x and weights.weight_ih is not None else None
        sums = Gradients(weights, want[:n_weights], run.threads)
        if run.chunk:
            keep = [len(s) > 1 for s in states]
            local = [x.new_empty(run.chunk + 1, *shape) for _ in states]
            buffer = run.new_saved(x[: run.chunk], shape[-1])
            for number, first in reversed(list(enumerate(range(0, len(x), run.chunk)))):
                part = x[first : first + run.chunk]
                mark = iter(marks[number * keep.count(False) :])
                for to, whole, kept in zip(local, states, keep, strict=True):
                    to[0] = whole[first] if kept else next(mark)
                run.forward(part, weights, local, buffer, first)
                run.backward(part, weights, local, buffer, grad_outputs, carry, grad_x, sums, first)
        else:
            run.backward(x, weights, states, saved, grad_outputs, carry, grad_x, sums)
        if want_x and grad_x is None:
            grad_x = torch.zeros_like(x)
        initial = [g if wanted else None for g, wanted in zip(carry, want[n_weights:], strict=True)]
        return (None, grad_x, *sums.total(), *initial)


def history(initial: Sequence[Tensor], steps: int, keep: Sequence[bool]) -> list[Tensor]:
    """Storage for the states, the initial one in row 0: ``[T + 1, B, H]``, or ``[1, B, H]`` where it is not kept."""
    found = []
    for state, kept in zip(initial, keep, strict=True):
        buffer = state.new_empty(steps + 1 if kept else 1, *state.shape)
        buffer[0] = state
        found.append(buffer)
    return found


def results(run: Pass, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
    plan = run.kernel.plan
    over_time = [states[plan.states.index(name)][1:] for name in plan.outputs]
    return (*over_time, *(s[-1].clone() for s in states))


def infer(run: Pass, x: Tensor, weights: Packed, initial: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same without anything kept for a backward pass."""
    states = history(initial, len(x), [name in run.kernel.plan.outputs for name in run.kernel.plan.states])
    run.forward(x, weights, states, None)
    return results(run, states)
