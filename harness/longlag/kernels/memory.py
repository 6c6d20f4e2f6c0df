"""Work space that is used again: the system clears every new page, which takes as long as filling it.

What a forward pass keeps for its backward pass (hundreds of megabytes for long sequences) is above the size from
which the C library maps new memory each time. A block backs a tensor and is free again when its last view is gone.
"""

from __future__ import annotations

import ctypes
import mmap
from collections import deque
from contextlib import suppress
from functools import cache, lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1 << 22
"""Bytes below which the C library's own heap serves, see `keep`."""
LARGEST = 1 << 25
"""Bytes from which on the C library maps new memory for every block: the most that glibc allows."""
POOL_BYTES = 1 << 29
"""Bytes of free blocks that are kept at most."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

_free: deque[Any] = deque()  # the oldest first; appending and popping are atomic, a finaliser may run at any time


@cache
def keep() -> None:
    """Have the C library keep the memory that a training step frees, for the next step.

    Left alone, glibc gives the end of its heap back to the system whenever some hundred kilobytes to a few megabytes
    are free there, depending on what went before; where that happens at every step it takes up to a tenth of it. At
    most 64 MB are kept that way. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, 2 * LARGEST)):
            mallopt(parameter, size)


@lru_cache(maxsize=64)
def buffer_type(size: int) -> Any:
    """A type of buffers of `size` bytes that free their block when they are deleted."""

    def release_block(self: Any, free: deque[Any] = _free) -> None:
        if size <= POOL_BYTES:
            free.append(self.block)
            while sum(len(block) for block in list(free)) > POOL_BYTES:
                free.popleft()

    return type("Buffer", (ctypes.c_char * size,), {"__del__": release_block})


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
    buffer = buffer_type(size).from_buffer(block)
    buffer.block = block
    return torch.frombuffer(buffer, dtype=dtype, count=count).view(shape)


def release() -> None:
    """Return all free blocks to the system."""
    _free.clear()
