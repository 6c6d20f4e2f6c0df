"""The cell compiler: a cell's equations, traced and printed as C inside one fixed time loop.

trace.py, lower.py, graph.py   the core and its derivative as a flat graph
plan.py                        where each gate lies, which products fill it, what is saved
emit.py, source.py             the graph and the plan as C: cell.h
resources.py                   the C that is not printed: elementary.h, timeloop.c, and what these include
call.py, call.h                what a call passes
tiles.py, tiles.c, blas.py     the matrix products
build.py, kernel.py            a loaded library
function.py, memory.py         the loop as a differentiable function
maps.py, maps.c                weights that cells derive from other tensors
supported.py                   dtypes and kinds of tensors that all this takes
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from longlag.kernels.record import StateGradients
from longlag.kernels.recurrence import Recurrence, State, Weights
from longlag.kernels.targets.c.function import Maybe, Pass, Unroll, infer
from longlag.kernels.targets.c.kernel import Kernel, kernel_of, toolchain
from longlag.kernels.targets.c.supported import PLAIN

__all__ = ["refusal", "toolchain", "unroll"]

PLACES = {"weight_ih": 0, "weight_hh": 3}
"""Of the weights that may be derived, among the flat ones of `function.Pass`."""
ROWS_PER_THREAD = 8
WORK_PER_THREAD = 1e8
"""Multiplications of a whole pass below which a second thread costs more than it brings."""


def refusal(cell: Recurrence, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> str | None:
    """Why `cell` does not run compiled at that dtype and device, in one sentence; None when it does.

    Asking builds the kernel.
    """
    kernel = kernel_for(cell, dtype, torch.device(device))
    return kernel if isinstance(kernel, str) else None


def kernel_for(cell: Recurrence, dtype: torch.dtype, device: torch.device) -> Kernel | str:
    if device.type != "cpu":
        return f"the compiled loop runs on the CPU, not on {device.type}"
    return kernel_of(cell, dtype)


def suitable(x: Tensor, tensors: Sequence[Maybe]) -> bool | str:
    """Whether any of these tensors wants a gradient; or, in one sentence, why they do not go through a kernel that the
    cell has."""
    if not x.shape[0] or not x.shape[1]:
        return "the compiled loop wants at least one step and one example"
    dtype, wanted = x.dtype, False
    for tensor in (x, *tensors):
        if tensor is None:
            continue
        if type(tensor) not in PLAIN:
            return f"the compiled loop takes plain tensors, not {type(tensor).__name__}"
        if tensor.dtype != dtype or not tensor.is_cpu:
            return (
                f"the compiled loop wants one dtype and device, and got {dtype} on {x.device} "
                f"with {tensor.dtype} on {tensor.device}"
            )
        wanted = wanted or tensor.requires_grad
    return wanted


def unroll(
    cell: Recurrence,
    weights: Weights,
    x: Tensor,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
    checkpoint_steps: int | None = None,
    threads: int | None = None,
) -> tuple[Tensor, State]:
    """Run `cell` over ``x [T, B, I]`` from `state`, compiled; see `longlag.kernels.plain.unroll`.

    Args:
        cell: the recurrence.
        weights: its effective weights.
        x: inputs ``[T, B, I]``.
        state: the initial state, every tensor ``[B, H]``.
        mask: ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged.
        record: filled in the backward pass with the gradient norms of the states.
        checkpoint_steps: keep the states of every so many steps only and compute the rest again in the backward
            pass: same gradients, memory for that many steps instead of T.
        threads: slices of the batch; by default as many as ``torch.get_num_threads()`` where that pays.

    Raises:
        ValueError: when the cell or the tensors cannot run compiled, saying why.
    """
    result = attempt(cell, weights, x, state, mask, record, checkpoint_steps, threads)
    if isinstance(result, str):
        raise ValueError(result)
    return result


def attempt(
    cell: Recurrence,
    weights: Weights,
    x: Tensor,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
    checkpoint_steps: int | None = None,
    threads: int | None = None,
) -> tuple[Tensor, State] | str:
    """What `unroll` returns, or one sentence that says why the cell or the tensors cannot run compiled."""
    kernel = kernel_for(cell, x.dtype, x.device)
    if isinstance(kernel, str):
        return kernel
    plan = kernel.plan
    if x.dim() != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected [T, B, I]")
    matrices: tuple[Maybe, ...] = (None,) if "weight_hh" in weights.derived else weights.weight_hh
    if len(matrices) != plan.products:
        raise ValueError(f"{len(matrices)} recurrent weights given, the cell has {plan.products}")
    units, states = plan.units, plan.states
    given: list[Maybe] = [
        weights.weight_ih, weights.bias, weights.bias_hh, *matrices,
        *[weights.units[name] for name in units], *[state[name] for name in states],
    ]  # fmt: skip
    derived = [(PLACES[name], weight) for name, weight in weights.derived.items()]
    sources = [tensor for _, weight in derived for tensor in weight.inputs]
    wanted = suitable(x, [*given, *sources])
    if isinstance(wanted, str):
        return wanted
    hidden = state[states[0]].shape[-1]
    kernel.check_shapes((x.shape[1], x.shape[2], hidden), given)
    if mask is not None:
        if mask.shape != x.shape[:2]:
            raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {tuple(x.shape[:2])}")
        mask = mask.to(torch.bool).contiguous()
    x = x.contiguous()
    given = [None if tensor is None else tensor.contiguous() for tensor in given]
    squares: list[Maybe] = [None] * len(states)
    if record is not None:
        record.allocate(states, x.shape[0], x.shape[1])
        squares = [record.of(name) for name in states]
    threads = slices(kernel, x, hidden) if threads is None else max(1, min(threads, x.shape[1]))
    keeps = bool(plan.saved) or any(kernel.inner)  # more than the outputs: else there is nothing to compute again
    chunk = checkpoint_steps if checkpoint_steps and checkpoint_steps < x.shape[0] and keeps else 0
    run = Pass(kernel, x, hidden, mask, squares, threads, chunk, derived)
    if wanted and torch.is_grad_enabled():
        outputs, *final = Unroll.apply(run, x, *given, *sources)  # type: ignore[no-untyped-call]
    else:
        with torch.no_grad():
            outputs, *final = infer(run, x, given[: kernel.n_weights], given[kernel.n_weights :])
    return outputs, dict(zip(states, final, strict=True))


def slices(kernel: Kernel, x: Tensor, hidden: int) -> int:
    """How many threads to use: one where the work is small."""
    available = torch.get_num_threads()
    if available == 1 or not kernel.blas.threads_are_local:
        return 1
    plan = kernel.plan
    steps, batch, inputs = x.shape
    per_row = hidden * (len(plan.slots) * (inputs + 10) + sum(t.count for t in plan.terms) * hidden)
    most = min(available, batch // ROWS_PER_THREAD, int(steps * batch * per_row / WORK_PER_THREAD))
    return max(1, most)
