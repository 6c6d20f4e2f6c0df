"""Causal attention in C, on contiguous tensors on the CPU; what is computed is in `longlag.kernels.attention`."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.targets.c import build, cc
from longlag.kernels.targets.c.passes import WORK_PER_THREAD
from longlag.kernels.targets.c.resources import assemble
from longlag.kernels.targets.c.supported import REAL


def source(real: str) -> str:
    """The C text for ``float`` or ``double``."""
    return assemble("attention.c", {"LONGLAG_DOUBLE": int(real == "double")})


class Attention:
    """The functions of `attention.c` for one C type."""

    def __init__(self, real: str) -> None:
        self._run = build.load(source(real)).longlag_attend
        self._run.argtypes = [*[ctypes.c_long] * 5, ctypes.c_double, *[ctypes.c_void_p] * 6]
        self._run.restype = ctypes.c_int

    def forward(self, packed: Tensor, heads: int, turns: Tensor | None) -> tuple[Tensor, Tensor]:
        steps, batch, width = packed.shape
        outputs = memory.empty((steps, batch, width // 3), packed.dtype)
        levels = packed.new_empty(batch * heads, steps)
        check(self._run(*sizes(packed, heads), *addresses(packed, turns, outputs, levels, None, None)))
        return outputs, levels

    def backward(
        self, packed: Tensor, heads: int, turns: Tensor | None, outputs: Tensor, kept: Tensor, gradient: Tensor
    ) -> Tensor:
        found = memory.empty(tuple(packed.shape), packed.dtype)
        check(self._run(*sizes(packed, heads), *addresses(packed, turns, outputs, kept, gradient, found)))
        return found


def sizes(packed: Tensor, heads: int) -> tuple[int | float, ...]:
    """Steps, examples, heads, their size, threads, and what scores are multiplied by."""
    steps, batch, width = packed.shape
    size = width // (3 * heads)
    work = 4 * steps * steps * batch * width
    threads = max(1, min(torch.get_num_threads(), batch * heads, int(work / WORK_PER_THREAD)))
    return steps, batch, heads, size, threads, 1 / math.sqrt(size)


def addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def check(failed: int) -> None:
    if failed:
        raise MemoryError("attention could not allocate its work space")


@cache
def attention(real: str) -> Attention | None:
    """Built when first asked for; None without a compiler."""
    if cc.compiler() is None:
        return None
    try:
        return Attention(real)
    except (build.BuildError, OSError):
        return None


def attention_for(dtype: torch.dtype) -> Attention | None:
    """For tensors on the CPU; None for a dtype that C has no type for, and without a compiler."""
    return attention(REAL[dtype]) if dtype in REAL else None
