"""Gradient clipping, from its spec."""

from __future__ import annotations

import torch
from torch import nn

from longlag.spec import ClipSpec


def clip(spec: ClipSpec, parameters: list[nn.Parameter], norm: torch.Tensor) -> bool:
    """Clip the gradients in place, by value first, then by norm; says whether anything was changed.

    Args:
        spec: the bounds.
        parameters: those with a gradient.
        norm: the norm of all gradients together, before clipping.
    """
    clipped = False
    if spec.value is not None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        clipped = any(bool(g.abs().max() > spec.value) for g in gradients)
        nn.utils.clip_grad_value_(parameters, spec.value)
        if spec.norm is not None:
            norm = nn.utils.get_total_norm(gradients)
    if spec.norm is not None:
        clipped = clipped or bool(norm > spec.norm)
        if not bool(norm < 0.99 * spec.norm):  # well below the bound torch multiplies by 1
            nn.utils.clip_grads_with_norm_(parameters, spec.norm, norm)
    return clipped
