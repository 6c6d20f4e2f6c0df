"""What stands around and between layers: both directions, dropout, a learned start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from longlag.cells.base import Cell, Layer
from longlag.kernels import State, StateGradients
from longlag.spec import BlockSpec

PLAIN_BLOCK = BlockSpec()


@dataclass(frozen=True)
class Composition:
    """How layers are put together.

    Args:
        dropout: share of a layer's outputs that is zeroed on the way to the next layer while training (Zaremba et al.
            2014: between layers only, never through time).
        residual: every layer whose input and output have the same size adds its input to its output.
        layer_norm: layer normalisation (Ba et al. 2016) of every layer's outputs, before the residual sum.
        bidirectional: every layer reads in both directions and gives both outputs (Schuster and Paliwal 1997).
        initial_state: ``zero``; ``learned``, one parameter vector a state; or ``cell``, what the cell's paper does.
        recurrent: ``free``; or ``orthogonal``, every gate's recurrent matrix kept orthogonal.
        view: ``layers``; or ``masked``, the same stack as one fully connected recurrent layer, see `MaskedStack`.
        block: what stands around every layer, see `Block`. With any part of it, dropout is on what a block adds.
    """

    dropout: float = 0.0
    residual: bool = False
    layer_norm: bool = False
    bidirectional: bool = False
    initial_state: Literal["cell", "zero", "learned"] = "cell"
    recurrent: Literal["free", "orthogonal"] = "free"
    view: Literal["layers", "masked"] = "layers"
    block: BlockSpec = PLAIN_BLOCK


class Dropout(nn.Module):
    """Inverted dropout that draws from a generator of its own, so that it is repeatable and resumable.

    Args:
        probability: that a value becomes zero; the others are divided by ``1 - probability``.
        seed: of the generator.
    """

    def __init__(self, probability: float, seed: int) -> None:
        super().__init__()
        self.probability = probability
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = torch.rand(x.shape, generator=self.generator).to(x.device) >= self.probability
        return x * keep / (1 - self.probability)


class Bidirectional(Layer):
    """Two layers over the same input, one from the last existing step to the first; outputs side by side.

    Its states are ``forward.h``, ``backward.h`` and so on. In gradient records the backward direction's steps are in
    the order in which it reads: its last one is the first frame.
    """

    def __init__(self, cell: Cell, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> None:
        forward, backward = (cell.layer(input_size, hidden_size, generator) for _ in range(2))
        names = (*(f"forward.{n}" for n in forward.state_names), *(f"backward.{n}" for n in backward.state_names))
        super().__init__(input_size, hidden_size, forward.output_size + backward.output_size, names)
        self.ahead, self.back = forward, backward

    def initial_state(self, batch: int) -> State:
        ahead, back = self.ahead.initial_state(batch), self.back.initial_state(batch)
        return {**_named("forward", ahead), **_named("backward", back)}

    def state_size(self, steps: int) -> int:
        return self.ahead.state_size(steps) + self.back.state_size(steps)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        state = self.initial_state(x.shape[1]) if state is None else state
        records = (None, None) if record is None else (record.part("forward."), record.part("backward."))
        first, ahead = self.ahead(x, _only("forward", state), mask, records[0])
        reversed_x = reverse(x, mask)
        second, back = self.back(reversed_x, _only("backward", state), mask, records[1])
        outputs = torch.cat([first, reverse(second, mask)], -1)
        return outputs, {**_named("forward", ahead), **_named("backward", back)}

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        raise TypeError("a bidirectional layer reads whole sequences: it has no single step")

    def summary(self, outputs: Tensor) -> Tensor:
        """What both directions know at their own last step, ``[B, O]``, from outputs ``[T, B, O]``."""
        size = self.ahead.output_size
        return torch.cat([outputs[-1, :, :size], outputs[0, :, size:]], -1)


def reverse(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x [T, B, F]`` with each sequence's existing steps in reverse; padding stays where it is, at the end.

    Past the end of a sequence a layer carries its state over, and so does this: padding holds what the last
    existing step (of the reversed sequence) gave.
    """
    if mask is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device).unsqueeze(1)
    index = (mask.sum(0, keepdim=True) - 1 - steps).clamp(min=0)
    return x.gather(0, index.unsqueeze(-1).expand_as(x))


def _named(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def _only(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {n.removeprefix(f"{prefix}."): value for n, value in state.items() if n.startswith(f"{prefix}.")}
