"""Large work space that is used again: the kernel clears every page it hands out, which takes as long as filling it.

What a forward pass keeps for its backward pass (hundreds of megabytes for long sequences) is above the size from
which the C library asks the system each time. Blocks are lent as tensors and come back when the last of them is gone.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from contextlib import suppress
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1 << 22
"""Bytes below which the C library's own heap keeps pages well enough."""
KEPT = 1 << 29
"""Bytes that are kept at most while nobody uses them."""

_free: deque[Any] = deque()  # the oldest first; appending and popping are atomic, a finaliser may run at any time


@lru_cache(maxsize=64)
def lent_type(size: int) -> Any:
    """A buffer of `size` bytes that gives its block back when it goes."""

    def give_back(self: Any, free: deque[Any] = _free) -> None:
        if size <= KEPT:
            free.append(self.block)
            while sum(len(block) for block in list(free)) > KEPT:
                free.popleft()

    return type("Lent", (ctypes.c_char * size,), {"__del__": give_back})


def new_block(size: int) -> mmap.mmap:
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without huge pages
            block.madvise(mmap.MADV_HUGEPAGE)
    return block


def take(size: int) -> mmap.mmap:
    """A free block of `size` bytes, or a new one."""
    for _ in range(len(_free)):
        try:
            block = _free.popleft()
        except IndexError:
            break
        if len(block) == size:
            return block  # type: ignore[no-any-return]
        _free.append(block)
    return new_block(size)


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor of that shape with any content."""
    count = prod(shape)
    size = count * dtype.itemsize
    if size < SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
        return torch.empty(shape, dtype=dtype)
    grain = 1 << max(12, size.bit_length() - 4)  # an eighth of the size at most: neighbours share their blocks
    size = -(-size // grain) * grain
    block = take(size)
    lent = lent_type(size).from_buffer(block)
    lent.block = block
    return torch.frombuffer(lent, dtype=dtype, count=count).view(shape)


def release() -> None:
    """Give what is kept back to the system."""
    _free.clear()
