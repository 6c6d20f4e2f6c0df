"""Gradient clipping, from its spec."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from longlag.spec import ClipSpec

EPSILON = 1e-6
"""Added to the norm that is divided by, as torch does."""


def total_norm(gradients: Sequence[Tensor]) -> float:
    """The norm of all gradients together, bit for bit that of ``torch.nn.utils.get_total_norm``.

    That function sorts its tensors by device and dtype first, which takes longer than the norm of a small network; here
    they have one of each.
    """
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients)))))


def clip(spec: ClipSpec, parameters: list[nn.Parameter], norm: float) -> bool:
    """Clip the gradients in place, by value first, then by norm; says whether anything was changed.

    Args:
        spec: the bounds.
        parameters: those with a gradient.
        norm: the norm of all gradients together, before clipping.
    """
    clipped = False
    gradients = [p.grad for p in parameters if p.grad is not None]
    if spec.value is not None:
        clipped = any(bool(g.abs().max() > spec.value) for g in gradients)
        nn.utils.clip_grad_value_(parameters, spec.value)
        if spec.norm is not None:
            norm = total_norm(gradients)
    if spec.norm is not None:
        clipped = clipped or norm > spec.norm
        if not norm < 0.99 * spec.norm:  # well below the bound torch multiplies by 1
            factor = torch.tensor(norm, dtype=gradients[0].dtype).add_(EPSILON).reciprocal_().mul_(spec.norm)
            torch._foreach_mul_(gradients, float(factor.clamp_(max=1)))  # as torch's clip_grads_with_norm_ does
    return clipped
