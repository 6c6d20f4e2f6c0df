"""Tensors that are columns of a wider one: taken apart without copies, and their gradients put together without any.

One product with many columns is faster than several with few. What follows takes its columns by themselves. A kernel
that is given columns of one tensor puts their gradients side by side in one tensor as well (`gradients_at`), and
`columns` hands that on as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from longlag.kernels import memory


def columns(values: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """``values [..., C]`` split along its last axis into views of so many columns."""
    if not (torch.is_grad_enabled() and values.requires_grad and values.is_contiguous()):
        return tuple(torch.split(values, list(widths), -1))
    parts: tuple[Tensor, ...] = Columns.apply(values, list(widths))  # type: ignore[no-untyped-call]
    return parts


class Columns(torch.autograd.Function):
    """`columns` with its derivative: gradients that lie side by side are one tensor already."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, widths: list[int]) -> tuple[Tensor, ...]:
        ctx.widths, ctx.shape = widths, values.shape
        ctx.set_materialize_grads(False)
        return tuple(torch.split(values, widths, -1))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        whole = side_by_side(grads, ctx.shape)
        some = next((grad for grad in grads if grad is not None), None)
        if whole is None and some is not None:
            lead = ctx.shape[:-1]
            parts = [
                some.new_zeros(*lead, width) if grad is None else grad
                for grad, width in zip(grads, ctx.widths, strict=True)
            ]
            whole = torch.cat(parts, -1)
        return whole, None


def side_by_side(parts: Sequence[Tensor | None], shape: torch.Size) -> Tensor | None:
    """The contiguous tensor of a shape that these are all the columns of, if they are; without a copy."""
    strides = contiguous_strides(shape)
    first = parts[0]
    if first is None:
        return None
    start = next_one = first.storage_offset()
    for part in parts:
        if part is None or part.untyped_storage().data_ptr() != first.untyped_storage().data_ptr():
            return None
        if part.storage_offset() != next_one or part.stride() != strides:
            return None
        next_one += part.shape[-1]
    return first.as_strided(shape, strides, start) if next_one - start == shape[-1] else None


class Place(NamedTuple):
    """Where a tensor lies in the contiguous ``[..., C]`` that it is columns of.

    Args:
        shape: of the tensor.
        whole: says which tensor it is columns of.
        size: numbers of that.
        stride: C.
        first: the first column.
        width: number of columns.
    """

    shape: tuple[int, ...]
    whole: int
    size: int
    stride: int
    first: int
    width: int

    def in_whole(self, whole: Tensor, lead: int) -> Tensor:
        """The same columns of another tensor of that size."""
        rows = self.shape[:lead]
        strides = (*(self.stride * s for s in contiguous_strides(rows)), *contiguous_strides(self.shape[lead:]))
        return whole.as_strided(self.shape, strides, self.first)


def places_of(tensors: Sequence[Tensor], lead: int) -> list[Place]:
    """Where each lies, the first `lead` axes being rows: in what it is columns of, else in a tensor of its own."""
    found: list[Place] = []
    for tensor in tensors:
        place = columns_of(tensor, lead)
        taken = (p for p in found if place is not None and p.whole == place.whole)
        if place is None or any(p.first < place.first + place.width and place.first < p.first + p.width for p in taken):
            width = prod(tensor.shape[lead:])
            place = Place(tuple(tensor.shape), -1 - len(found), tensor.numel(), width, 0, width)
        found.append(place)
    return found


def columns_of(tensor: Tensor, lead: int) -> Place | None:
    """Which columns it is of the tensor that it is a view of, if it is that."""
    base, shape = tensor._base, tuple(tensor.shape)
    if base is None or not base.is_contiguous():
        return None
    rows, width = prod(shape[:lead]), prod(shape[lead:])
    offset = int(tensor.storage_offset() - base.storage_offset())
    if not rows or base.numel() % rows:
        return None
    stride = base.numel() // rows
    place = Place(shape, base.data_ptr(), base.numel(), stride, offset, width)
    if offset < 0 or offset + width > stride or place.in_whole(tensor, lead).stride() != tensor.stride():
        return None
    return place


def gradients_at(places: Sequence[Place], lead: int, need: Sequence[bool], dtype: torch.dtype) -> list[Tensor | None]:
    """Space for the gradients of tensors at these places: columns of one tensor get columns of one."""
    wholes: dict[int, Tensor] = {}
    for place, wanted in zip(places, need, strict=True):
        if wanted and place.whole not in wholes:
            wholes[place.whole] = memory.empty((place.size,), dtype)
    return [
        place.in_whole(wholes[place.whole], lead) if wanted else None
        for place, wanted in zip(places, need, strict=True)
    ]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides = [1]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(strides[::-1]) if shape else ()


def rows_contiguous(tensor: Tensor, own: int) -> bool:
    """Whether the last `own` axes lie as those of a contiguous tensor."""
    expected = 1
    for size, stride in zip(tensor.shape[::-1][:own], tensor.stride()[::-1][:own], strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True
