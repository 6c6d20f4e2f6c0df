"""The gradient norms of the states, which a kernel records while it runs backward."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class StateGradients:
    """Squared norms of the total gradient of the loss with respect to every state, step by step.

    Pass one to a layer's forward call; after ``loss.backward()`` (or ``torch.autograd.grad``) it has, for every
    state ``s``, ``squares[s]``: float64 ``[T, B]``, the value at ``[t, b]`` being ``||dL/ds_{t+1}||^2`` of example
    ``b``, where ``s_{t+1}`` is the state after step ``t`` and the gradient sums every path, those through later steps
    and those through the output at the same step. A state that the loss does not reach stays at zero.
    """

    def __init__(self) -> None:
        self.squares: dict[str, Tensor] = {}
        self.prefix = ""

    def part(self, prefix: str) -> StateGradients:
        """A record for one of several recurrences in a layer: it writes into this one, names led by `prefix`."""
        part = StateGradients()
        part.squares, part.prefix = self.squares, self.prefix + prefix
        return part

    def allocate(self, states: tuple[str, ...], steps: int, batch: int) -> None:
        """Called by a kernel in its forward pass."""
        for name in states:  # by numpy: torch.zeros starts threads that busy-wait during the time loop
            self.squares[self.prefix + name] = torch.from_numpy(np.zeros((steps, batch)))

    def clear(self) -> None:
        """Back to zeros, for another backward pass through the same forward pass."""
        for squares in self.squares.values():
            squares.zero_()

    def of(self, state: str) -> Tensor:
        """The squares of one state, for a kernel to fill."""
        return self.squares[self.prefix + state]

    def put(self, state: str, step: int, gradient: Tensor, rows: Tensor | None = None) -> None:
        """Called by the plain loop in its backward pass with ``gradient [B, ...]``, for the examples `rows [B, 1]`."""
        squares = gradient.detach().double().flatten(1).square().sum(-1).cpu()
        target = self.of(state)[step]
        target.copy_(squares if rows is None else torch.where(rows.squeeze(-1).cpu(), squares, target))
