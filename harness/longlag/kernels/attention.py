"""Causal attention that a target may bring in a faster version than torch's.

Queries, keys and values lie side by side, as one product makes them: ``packed [T, B, 3 M E]``, M heads of an
even size E. All tensors are contiguous, of one dtype and on one device.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Attention(Protocol):
    """softmax_j(q_t . k_j / sqrt(E)) v_j over all j <= t, for every head of every example.

    ``turns [2, T, E / 2]``, where given, are the cosines and sines of the angles by which pairs of neighbours in
    queries and keys are rotated first.
    """

    def forward(self, packed: Tensor, heads: int, turns: Tensor | None) -> tuple[Tensor, Tensor]:
        """The outputs ``[T, B, M E]``, and what `backward` reads besides them."""

    def backward(
        self, packed: Tensor, heads: int, turns: Tensor | None, outputs: Tensor, kept: Tensor, gradient: Tensor
    ) -> Tensor:
        """The gradient by `packed`, from that by the outputs."""
