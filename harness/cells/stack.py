"""Depth: layers on top of each other, each reading the outputs of the one below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness import registry
from harness.cells.base import Cell, Layer
from harness.kernels import State, StateGradients

StackState = tuple[State, ...]
"""One state a layer, the lowest first."""


class Stack(nn.Module):
    """`depth` layers of one cell: ``x [T, B, I]`` to ``outputs [T, B, output_size]`` of the top layer.

    Args:
        cell: the definition of every layer.
        input_size: features of ``x``.
        hidden_size: units of every layer.
        depth: number of layers, at least 1.
        generator: where the initial parameters are drawn from (the global generator if None).
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        depth: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size, depth) < 1:
            raise ValueError(f"sizes and depth are at least 1, got {input_size=}, {hidden_size=}, {depth=}")
        layers: list[Layer] = []
        for _ in range(depth):
            size = layers[-1].output_size if layers else input_size
            layers.append(cell.layer(size, hidden_size, generator))
        self.cell = cell
        self.layers = nn.ModuleList(layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = layers[-1].output_size

    @property
    def depth(self) -> int:
        return len(self.layers)

    def initial_state(self, batch: int) -> StackState:
        """The state before the first step."""
        return tuple(layer.initial_state(batch) for layer in self._layers())

    def forward(
        self,
        x: Tensor,
        state: StackState | None = None,
        mask: Tensor | None = None,
        records: Sequence[StateGradients] | None = None,
    ) -> tuple[Tensor, StackState]:
        """Run over time.

        Args:
            x: ``[T, B, input_size]``.
            state: one state a layer; None is the initial state (zero).
            mask: ``[T, B]``, true where the step exists; elsewhere the states are carried over.
            records: one a layer, filled with gradient norms in the backward pass.

        Returns:
            The top layer's outputs ``[T, B, output_size]`` and the final state of every layer.
        """
        self._check(x, 3, "[T, B, I]")
        state = self.initial_state(x.shape[1]) if state is None else state
        final = []
        for k, layer in enumerate(self._layers()):
            x, last = layer(x, state[k], mask, None if records is None else records[k])
            final.append(last)
        return x, tuple(final)

    def step(self, x_t: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """One step from ``x_t [B, input_size]``; returns the top output ``[B, output_size]`` and the next state."""
        self._check(x_t, 2, "[B, I]")
        state = self.initial_state(x_t.shape[0]) if state is None else state
        new = []
        for k, layer in enumerate(self._layers()):
            x_t, last = layer.step(x_t, state[k])
            new.append(last)
        return x_t, tuple(new)

    def _layers(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _check(self, x: Tensor, dimensions: int, shape: str) -> None:
        if x.dim() != dimensions or x.shape[-1] != self.input_size:
            raise ValueError(f"expected x {shape} with I = {self.input_size}, got shape {tuple(x.shape)}")


def build(name: str, options: dict[str, Any] | None = None) -> Cell:
    """The registered cell `name` with `options`.

    Raises:
        UserError: for an unknown cell or option, naming the nearest.
    """
    definition: type[Cell] = registry.load("cell", name)
    try:
        return definition(definition.Options.model_validate(options or {}))
    except ValidationError as error:
        raise registry.UserError(registry.explain(error, f"cell {name!r}", definition.Options)) from error


def layer(
    name: str,
    input_size: int,
    hidden_size: int,
    depth: int = 1,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Stack:
    """A stack of the registered cell `name`, by its options.

    Examples:
        >>> lstm = layer("lstm", input_size=2, hidden_size=64, forget_bias=1.0)
        >>> outputs, state = lstm(torch.zeros(100, 8, 2))
        >>> outputs.shape
        torch.Size([100, 8, 64])
    """
    return Stack(build(name, options), input_size, hidden_size, depth, generator)
