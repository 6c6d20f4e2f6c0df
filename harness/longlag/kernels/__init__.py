"""How a cell runs over time: the plain autograd loop, or its equations compiled.

`unroll` chooses. ``kernel="auto"`` takes a compiled kernel where there is one and the plain loop elsewhere, logging
the reason once; ``"plain"`` and ``"compiled"`` insist, as does the name of a kernel target (`longlag.kernels.targets`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from longlag.kernels import plain, targets
from longlag.kernels.chain import Apply, Chain, Dense
from longlag.kernels.columns import columns
from longlag.kernels.compiled import ANY, CompiledCell, compiled_cell
from longlag.kernels.derived import Adjoint, Derived
from longlag.kernels.recurrence import Gate, Layout, Named, Product, Recurrence, State, Weights
from longlag.kernels.rows import RowFunction, run_chain, run_rows
from longlag.kernels.scan import Axes, Scan
from longlag.kernels.scan_function import CompiledScan
from longlag.kernels.state_gradients import StateGradients
from longlag.log import log

__all__ = [
    "Adjoint",
    "Apply",
    "Axes",
    "Chain",
    "Dense",
    "Derived",
    "Gate",
    "Kernel",
    "Layout",
    "Named",
    "Product",
    "Recurrence",
    "RowFunction",
    "Scan",
    "State",
    "StateGradients",
    "Weights",
    "columns",
    "compiled_scan",
    "refusal",
    "run_chain",
    "run_rows",
    "run_scan",
    "tags",
    "unroll",
    "which",
]

Kernel = Literal["auto", "plain", "compiled"] | str
"""``auto``, ``plain``, ``compiled``, or the name of a target."""

_said: set[str] = set()


def refusal(
    cell: Recurrence | Scan,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    kernel: Kernel = "compiled",
) -> str | None:
    """Why `cell` does not run compiled in that dtype on that device, in one sentence; None when it does.

    Asking builds the kernel.

    Raises:
        ValueError: when there is no such target.
    """
    found = compiled_cell(cell, dtype, torch.device(device), ANY if kernel == "auto" else kernel)
    return found if isinstance(found, str) else None


def which(
    cell: Recurrence | Scan,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    kernel: Kernel = "auto",
) -> str:
    """The kernel that `unroll` takes for `cell` in that dtype on that device: plain, compiled, or the named target.

    Raises:
        ValueError: when it insists on a kernel that cannot be built, saying why; for an unknown `kernel`.
    """
    if kernel == "plain":
        return "plain"
    reason = refusal(cell, dtype, device, kernel)
    if kernel == "auto":
        return "plain" if reason else "compiled"
    if reason is not None:
        raise ValueError(reason)
    return kernel


def tags(device: torch.device | str = "cpu") -> dict[str, str]:
    """What decides the bits of compiled kernels on a device, such as compiler and flags: to be recorded with a run."""
    device = torch.device(device)
    found: dict[str, str] = {}
    for target in targets.automatic(device.type):
        found = {**target.tags(device), **found}
    return found


def unroll(
    cell: Recurrence,
    weights: Weights,
    x: Tensor,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
    kernel: Kernel = "auto",
    checkpoint_steps: int | None = None,
) -> tuple[Tensor, State]:
    """Run `cell` over ``x [T, B, I]`` from `state`; see `longlag.kernels.plain.unroll`.

    Args:
        cell: the recurrence.
        weights: its effective weights.
        x: inputs ``[T, B, I]``.
        state: the initial state by name.
        mask: ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged.
        record: filled in the backward pass with the gradient norms of the states.
        kernel: what runs.
        checkpoint_steps: a compiled kernel keeps the states of every so many steps only and computes the rest again
            in the backward pass: same gradients, memory for that many steps. The plain loop, the oracle, keeps all.

    Raises:
        ValueError: when it insists on a kernel that cannot run this, saying why; for an unknown `kernel`.
    """
    if kernel != "plain":
        found = compiled_cell(cell, x.dtype, x.device, ANY if kernel == "auto" else kernel)
        if isinstance(found, str):
            result: tuple[Tensor, State] | str = found
        else:
            assert isinstance(found, CompiledCell), "a gated cell is built as one"
            result = found.unroll(weights, x, state, mask, record, checkpoint_steps)
        if not isinstance(result, str):
            return result
        if kernel != "auto":
            raise ValueError(result)
        say_once(f"{result}; the plain loop runs instead")
    return plain.unroll(cell, weights.computed(), x, state, mask, record)


def run_scan(
    cell: Scan,
    inputs: State,
    parameters: State,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
    kernel: Kernel = "auto",
    checkpoint_steps: int | None = None,
) -> tuple[State, State]:
    """Run `cell` over its inputs from `state`: the outputs over time and the final state.

    Args:
        cell: the scan.
        inputs: every tensor ``[T, B, n, *axes]``, n heads.
        parameters: every tensor ``[n, *axes]``.
        state: the initial state, every tensor ``[B, n, *axes]``.
        mask: ``[T, B]``, true where the step exists; elsewhere the state is carried over unchanged and outputs are 0.
        record: filled in the backward pass with the gradient norms of the states.
        kernel: what runs.
        checkpoint_steps: see `unroll`; a compiled kernel keeps every sqrt(T)-th state if it is None.

    Raises:
        ValueError: for tensors that are missing or do not fit; when it insists on a kernel that cannot run this.
    """
    if kernel != "plain":
        result = compiled_scan(cell, inputs, parameters, state, mask, record, kernel, checkpoint_steps)
        if not isinstance(result, str):
            return result
        if kernel != "auto":
            raise ValueError(result)
        say_once(f"{result}; the plain loop runs instead")
    return plain.scan(cell, inputs, parameters, state, mask, record)


def compiled_scan(
    cell: Scan,
    inputs: State,
    parameters: State,
    state: State,
    mask: Tensor | None = None,
    record: StateGradients | None = None,
    kernel: Kernel = "auto",
    checkpoint_steps: int | None = None,
) -> tuple[State, State] | str:
    """As `run_scan`, but where no compiled kernel runs this one sentence that says why.

    Raises:
        ValueError: for tensors that are missing or do not fit.
    """
    if kernel == "plain":
        return "the plain loop is asked for"
    some = next(iter(inputs.values()))
    found = compiled_cell(cell, some.dtype, some.device, ANY if kernel == "auto" else kernel)
    if isinstance(found, str):
        return found
    assert isinstance(found, CompiledScan), "a scan is built as one"
    return found.run(inputs, parameters, state, mask, record, checkpoint_steps)


def say_once(line: str) -> None:
    """Log a warning once a process."""
    if line not in _said:
        _said.add(line)
        log.warning(line)
