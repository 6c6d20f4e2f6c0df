"""How a cell runs over time: the plain autograd loop, or its equations compiled.

`unroll` chooses. ``kernel="auto"`` takes the compiled loop where there is one and the plain loop elsewhere, saying so
once for each cell and reason; ``"plain"`` and ``"compiled"`` insist.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from longlag.kernels import plain
from longlag.kernels.derived import Adjoint, Derived
from longlag.kernels.record import StateGradients
from longlag.kernels.recurrence import Gate, Layout, Named, Product, Recurrence, State, Weights
from longlag.kernels.targets import c as compiled
from longlag.kernels.targets.c import refusal
from longlag.log import log

__all__ = [
    "Adjoint",
    "Derived",
    "Gate",
    "Kernel",
    "Layout",
    "Named",
    "Product",
    "Recurrence",
    "State",
    "StateGradients",
    "Weights",
    "refusal",
    "unroll",
    "which",
]

Kernel = Literal["auto", "plain", "compiled"]
KERNELS: tuple[str, ...] = get_args(Kernel)

_said: set[str] = set()


def which(
    cell: Recurrence,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    kernel: Kernel = "auto",
) -> Literal["plain", "compiled"]:
    """Which loop `unroll` takes for `cell` at that dtype and device.

    Raises:
        ValueError: when ``kernel="compiled"`` cannot be had, saying why; for an unknown `kernel`.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: one of {', '.join(KERNELS)}")
    if kernel == "plain":
        return "plain"
    reason = compiled.refusal(cell, dtype, device)
    if reason is None:
        return "compiled"
    if kernel == "compiled":
        raise ValueError(reason)
    return "plain"


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
        kernel: which loop runs.
        checkpoint_steps: the compiled loop keeps the states of every so many steps only and computes the rest again
            in the backward pass. The plain loop, the oracle, keeps everything.

    Raises:
        ValueError: when ``kernel="compiled"`` cannot be had, saying why; for an unknown `kernel`.
    """
    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}: one of {', '.join(KERNELS)}")
    if kernel != "plain":
        result = compiled.attempt(cell, weights, x, state, mask, record, checkpoint_steps)
        if not isinstance(result, str):
            return result
        if kernel == "compiled":
            raise ValueError(result)
        say_once(f"{result}; the plain loop runs instead")
    return plain.unroll(cell, weights.computed(), x, state, mask, record)


def say_once(line: str) -> None:
    """One line of warning, once a process."""
    if line not in _said:
        _said.add(line)
        log.warning(line)
