"""A recurrence over vectors of vectors or matrices: states with named axes, and a pure core from step to step.

Where a gated recurrence (`longlag.kernels.recurrence`) is dense products and a pointwise core, a scan has no product
with a weight in its step. What needs the inputs alone is computed before the loop. The core holds the rest: how the
states change, and what is read from them. States over time are never kept as a whole, only what is read from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from torch import Tensor

from longlag.kernels.recurrence import Named, State

Axes = tuple[str, ...]
"""Names of the axes of a tensor, some of the cell's, in the cell's order."""


class Scan(Protocol):
    """The part of the contract that kernels run; `longlag.cells.ScanCell` implements it and says what it means."""

    @property
    def axes(self) -> Axes: ...

    @property
    def states(self) -> Mapping[str, Axes]: ...

    @property
    def inputs(self) -> Mapping[str, Axes]: ...

    @property
    def parameters(self) -> Mapping[str, Axes]: ...

    @property
    def outputs(self) -> Mapping[str, Axes]: ...

    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]: ...


class Declared(Protocol):
    """The tensors of a scan by their axes; a plan has them as well."""

    @property
    def states(self) -> Mapping[str, Axes]: ...

    @property
    def inputs(self) -> Mapping[str, Axes]: ...

    @property
    def parameters(self) -> Mapping[str, Axes]: ...


def check(cell: Declared, name: str, inputs: State, parameters: State, state: State) -> dict[str, int]:
    """The sizes of a cell's axes, and of ``steps``, ``batch`` and ``heads``, from its tensors; `name` is the cell's.

    Raises:
        ValueError: naming the tensor that is missing or whose shape does not fit the others.
    """
    sizes: dict[str, int] = {}
    leads = {"input": ("steps", "batch", "heads"), "parameter": ("heads",), "state": ("batch", "heads")}
    declared = {"input": cell.inputs, "parameter": cell.parameters, "state": cell.states}
    for kind, given in (("input", inputs), ("parameter", parameters), ("state", state)):
        for tensor, own in declared[kind].items():
            axes = (*leads[kind], *own)
            if tensor not in given:
                raise ValueError(f"{kind} {tensor} of {name} is missing")
            shape = tuple(given[tensor].shape)
            wanted = tuple(sizes.get(axis, size) for axis, size in zip(axes, shape, strict=False))
            if len(shape) != len(axes) or shape != wanted:
                raise ValueError(
                    f"{kind} {tensor} of {name} has shape {shape}, expected [{', '.join(axes)}]"
                    + (f" = {[sizes.get(axis, '?') for axis in axes]}" if sizes else "")
                )
            sizes.update(zip(axes, shape, strict=True))
    return sizes


def square(own: Axes) -> bool:
    """Whether these are the axes of a square matrix: one axis twice."""
    return len(own) == 2 and own[0] == own[1]


def widened(tensor: Tensor, lead: int, own: Axes, axes: Axes) -> Tensor:
    """``[*lead, *own]`` as ``[*lead, *axes]``, 1 where it lacks an axis: so that a cell's tensors broadcast.

    A square matrix stays as it is.
    """
    if square(own):
        return tensor
    shape = iter(tensor.shape[lead:])
    return tensor.reshape(*tensor.shape[:lead], *(next(shape) if axis in own else 1 for axis in axes))


def narrowed(tensor: Tensor, lead: Iterable[int], own: Axes, axes: Axes, sizes: Mapping[str, int], what: str) -> Tensor:
    """Undo `widened` for what a core returned, which may be the same along an axis.

    Raises:
        ValueError: when it depends on an axis that it does not have.
    """
    lead = tuple(lead)
    whole = tuple(sizes[axis] if axis in own else 1 for axis in axes)
    found = tuple(tensor.shape[-len(axes) :]) if axes else ()
    if any(size not in (1, want) for size, want in zip(found, whole, strict=False)) or tensor.dim() > len(lead + whole):
        raise ValueError(f"the core returns {what} with axes {list(found)}, expected {list(whole)} for {axes}")
    return tensor.expand(*lead, *whole).reshape(*lead, *(sizes[axis] for axis in own))
