"""Causal attention of all steps to all before them, compiled where a target has it, by torch elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from longlag.kernels.attention import Attention
from longlag.kernels.autograd import apply, once_differentiable
from longlag.kernels.targets import attention_for


def turns(first: int, steps: int, size: int, like: Tensor) -> Tensor:
    """Cosines and sines ``[2, S, E / 2]`` of step * 10000^(-2 e / E), steps numbered from `first`."""
    wide = torch.promote_types(like.dtype, torch.float32)
    rates = 10000 ** (-torch.arange(0, size, 2, dtype=wide, device=like.device) / size)
    angles = torch.arange(first, first + steps, dtype=wide, device=like.device).unsqueeze(1) * rates
    return torch.stack([torch.cos(angles), torch.sin(angles)]).to(like.dtype)


def rotate(x: Tensor, first: int) -> Tensor:
    """Turn ``x [..., S, E]``, whose steps are numbered from `first`: pair e by step * 10000^(-2 e / E) radians."""
    cos, sin = turns(first, x.shape[-2], x.shape[-1], x)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def split(window: Tensor, heads: int) -> Tensor:
    """``[S, B, M E]`` to ``[B, M, S, E]``."""
    parts: Tensor = window.unflatten(-1, (heads, -1))
    return parts.permute(1, 2, 0, 3)


def attend(packed: Tensor, heads: int, rotary: bool) -> Tensor:
    """Attention among the steps of queries, keys and values ``[T, B, 3 M E]``, before which there are none.

    Args:
        packed: all three side by side.
        heads: M.
        rotary: whether queries and keys are rotated, see `rotate`.

    Returns:
        The outputs ``[T, B, M E]``.
    """
    kernel = attention_for(packed)
    if kernel is not None:
        size = packed.shape[-1] // (3 * heads)
        angles = turns(0, len(packed), size, packed) if rotary else None
        return apply(Attend, kernel, packed.contiguous(), heads, angles)  # type: ignore[no-any-return]
    q, k, v = (split(part, heads) for part in packed.chunk(3, -1))
    if rotary:
        q, k = rotate(q, 0), rotate(k, 0)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).permute(2, 0, 1, 3).flatten(2)


class Attend(torch.autograd.Function):
    """``apply(kernel, packed, heads, turns)`` -> outputs."""

    @staticmethod
    def forward(ctx: Any, kernel: Attention, packed: Tensor, heads: int, angles: Tensor | None) -> Tensor:
        outputs, kept = kernel.forward(packed, heads, angles)
        ctx.kernel, ctx.heads = kernel, heads
        ctx.save_for_backward(packed, angles, outputs, kept)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        packed, angles, outputs, kept = ctx.saved_tensors
        found = ctx.kernel.backward(packed, ctx.heads, angles, outputs, kept, gradient.contiguous())
        return None, found, None, None
