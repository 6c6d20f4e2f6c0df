"""Padding for layers whose output is not their state: what happens at steps that do not exist.

A gated layer carries its state over a step that does not exist, and so repeats its last output there. The functions
below give the same behaviour to convolutions, attention and read-outs. Masks are ``[T, B]``, true where a step exists;
they need not be prefixes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from longlag.kernels import StateGradients

BLOCK_NUMBERS = 1 << 15
"""Numbers that are squared in float64 at a time."""


def pick(values: Tensor, index: Tensor) -> Tensor:
    """``values [S, B, F]`` at the steps ``index [T, B]`` of each example: ``[T, B, F]``."""
    return values.gather(0, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def silence(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x [T, B, F]`` with zeros where no step exists, whatever stood there."""
    return x if mask is None else torch.where(mask.unsqueeze(-1), x, torch.zeros_like(x))


def hold(outputs: Tensor, mask: Tensor | None, last: Tensor) -> Tensor:
    """``outputs [S, B, F]`` over ``mask [T, B]``, padding repeating the output of the last existing step.

    ``last [B, F]`` stands before any; steps from S on exist for nobody.
    """
    if mask is None:
        return outputs
    steps = torch.arange(1, len(mask) + 1, device=mask.device).unsqueeze(1)
    return pick(torch.cat([last.unsqueeze(0), outputs]), (steps * mask).cummax(0).values)


def existing_steps(mask: Tensor) -> int:
    """Steps up to the last one that exists for anybody, at least 1.

    Without those behind it a padded batch is the unpadded one bit for bit: the rounding of matrix products and of
    vectorised functions may depend on how many rows there are.
    """
    numbers = torch.arange(1, len(mask) + 1, device=mask.device)
    return max(1, int((numbers * mask.any(1)).max()))


class Prefix(StateGradients):
    """`record` as seen by a kernel that runs the first steps of `total` only; the rest stays at zero."""

    def __init__(self, record: StateGradients, total: int) -> None:
        super().__init__()
        self.squares, self.prefix = record.squares, record.prefix
        self.total: int = record.total if isinstance(record, Prefix) else total
        self.steps = self.total

    def part(self, prefix: str) -> Prefix:
        return Prefix(super().part(prefix), self.total)

    def allocate(self, states: tuple[str, ...], steps: int, batch: int) -> None:
        super().allocate(states, self.total, batch)
        self.steps = steps

    def of(self, state: str) -> Tensor:
        return super().of(state)[: self.steps]


def front(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The existing steps of each example moved to the front, zeros behind them, and their number ``[B]``.

    What exists for nobody falls away, see `existing_steps`.
    """
    counts = mask.sum(0)
    longest = max(1, int(counts.max()))
    order = mask.to(torch.uint8).argsort(stable=True, dim=0, descending=True)[:longest]
    exists = torch.arange(longest, device=mask.device).unsqueeze(1) < counts
    return silence(pick(x, order), exists), counts


def spread(outputs: Tensor, mask: Tensor, last: Tensor) -> Tensor:
    """Undo `front` for outputs ``[S, B, F]``: each back at its own step of ``[T, B, F]``, held over padding."""
    return pick(torch.cat([last.unsqueeze(0), outputs]), mask.cumsum(0))


def newest(window: Tensor, length: int, counts: Tensor | None) -> Tensor:
    """The last `length` steps of ``window [length + T, B, F]``, of which ``counts [B]`` of the T existed."""
    if counts is None:
        return window[len(window) - length :]
    return pick(window, torch.arange(length, device=counts.device).unsqueeze(1) + counts)


def record_outputs(record: StateGradients | None, outputs: Tensor) -> None:
    """Record the gradient at ``outputs [T, B, F]``, step by step, as that of the state ``h``."""
    if record is None:
        return
    record.allocate(("h",), outputs.shape[0], outputs.shape[1])
    if outputs.requires_grad:
        # some steps at a time stay in the cache: a tenth of the time of a linear layer otherwise
        block = max(1, BLOCK_NUMBERS // max(1, outputs[0].numel()))

        def fill(gradient: Tensor) -> None:
            for squares, part in zip(record.of("h").split(block), gradient.detach().split(block), strict=True):
                wide = part.to(torch.float64, copy=True)
                squares.copy_(wide.mul_(wide).sum(-1))

        outputs.register_hook(fill)
