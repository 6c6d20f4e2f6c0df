"""Depth: layers on top of each other, each reading the outputs of the one below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from longlag import registry
from longlag.cells.base import Cell, GatedCell, GatedLayer, Layer, numbers
from longlag.cells.block import Blocks
from longlag.cells.compose import Bidirectional, Composition, Dropout
from longlag.cells.masked import MaskedStack
from longlag.errors import UserError, explain, quoted
from longlag.kernels import State, StateGradients

StackState = tuple[State, ...]
"""One state a layer, the lowest first."""

PLAIN = Composition()


class Stack(nn.Module):
    """`depth` layers of one cell: ``x [T, B, I]`` to ``outputs [T, B, output_size]`` of the top layer.

    Args:
        cell: the definition of every layer.
        input_size: features of ``x``.
        hidden_size: units of every layer.
        depth: number of layers, at least 1.
        generator: where the initial parameters are drawn from (the global generator if None).
        composition: what stands around and between the layers.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        depth: int = 1,
        generator: torch.Generator | None = None,
        composition: Composition = PLAIN,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size, depth) < 1:
            raise ValueError(f"sizes and depth are at least 1, got {input_size=}, {hidden_size=}, {depth=}")
        self.cell = cell
        self.composition = composition
        block = composition.block
        units = block.expand * hidden_size
        layers: list[Layer] = []
        for _ in range(1 if composition.view == "masked" else depth):
            size = units if block.parts else layers[-1].output_size if layers else input_size
            layers.append(self._layer(size, units, depth, generator))
        self.layers = nn.ModuleList(layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.blocks: Blocks | None = None
        if block.parts:
            widths = [layer.output_size for layer in layers]
            self.blocks = Blocks(block, input_size, hidden_size, widths, composition.dropout, generator)
        self.output_size = hidden_size if block.parts else layers[-1].output_size
        inner = [] if block.parts else layers[:-1]
        seeds = torch.randint(2**62, (len(inner),), generator=generator).tolist() if composition.dropout else []
        self.dropouts = nn.ModuleList(Dropout(composition.dropout, seed) for seed in seeds)
        normed = layers if composition.layer_norm else []
        self.norms = nn.ModuleList(nn.LayerNorm(layer.output_size) for layer in normed)
        learned = composition.initial_state == "learned" or (composition.initial_state == "cell" and cell.learned_state)
        self.starts = nn.ModuleList(self._start(layer, generator) for layer in (layers if learned else []))

    def _layer(self, size: int, hidden_size: int, depth: int, generator: torch.Generator | None) -> Layer:
        how = self.composition
        around = [name for name in ("residual", "layer_norm", "bidirectional", "dropout") if getattr(how, name)]
        if how.block.parts and (how.residual or how.layer_norm):
            raise ValueError("a block has residual sums and norms of its own: leave out residual and layer_norm")
        around += ["block"] if how.block.parts else []
        if how.view == "masked":
            if around or how.recurrent != "free":
                raise ValueError(f"the masked view is of a plain stack: leave out {', '.join(around) or 'recurrent'}")
            if not isinstance(self.cell, GatedCell):
                raise ValueError("the masked view is for gated cells")
            return MaskedStack(self.cell, size, hidden_size, depth, generator)
        if how.bidirectional:
            layer: Layer = Bidirectional(self.cell, size, hidden_size, generator)
        else:
            layer = self.cell.layer(size, hidden_size, generator)
        if how.recurrent == "orthogonal":
            from longlag.cells.parametrise import orthogonalise

            for part in layer.modules():
                if isinstance(part, GatedLayer):
                    orthogonalise(part, generator)
        return layer

    def _start(self, layer: Layer, generator: torch.Generator | None) -> nn.ParameterList:
        state = {name: value[0].detach().clone() for name, value in layer.initial_state(1).items()}
        whole = [name for name, value in state.items() if not value.is_floating_point()]
        if whole:
            raise ValueError(f"initial_state: the state {', '.join(whole)} counts something and cannot be learned")
        self.cell.initialise_state(state, layer.hidden_size, generator)
        return nn.ParameterList(nn.Parameter(state[name]) for name in layer.state_names)

    @property
    def depth(self) -> int:
        return len(self.layers)

    def initial_state(self, batch: int) -> StackState:
        """The state before the first step: the cell's, or learned; that of a block is zero."""
        states = []
        for k, layer in enumerate(self._layers()):
            if len(self.starts):
                start = self.starts[k]
                assert isinstance(start, nn.ParameterList)
                values = dict(zip(layer.state_names, start, strict=True))
                state = {name: value.expand(batch, *value.shape) for name, value in values.items()}
            else:
                state = layer.initial_state(batch)
            if self.blocks is not None:
                state |= self.blocks.blocks()[k].initial_state(batch, next(layer.parameters()))
            states.append(state)
        return tuple(states)

    def state_size(self, steps: int) -> int:
        """Numbers kept from one step to the next for one sequence, all layers together, after so many steps.

        Whole numbers that count something do not enter.
        """
        sizes = [0 if self.cell.memoryless else layer.state_size(steps) for layer in self._layers()]
        if self.blocks is not None:
            like = next(self.parameters())
            sizes += [numbers(block.initial_state(1, like)) for block in self.blocks.blocks()]
        return sum(sizes)

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
            state: one state a layer; None is the initial state (zero, unless the composition or the cell learns it).
            mask: ``[T, B]``, true where the step exists; elsewhere the states are carried over.
            records: one a layer, filled with gradient norms in the backward pass.

        Returns:
            The top layer's outputs ``[T, B, output_size]`` and the final state of every layer.
        """
        self._check(x, 3, "[T, B, I]")
        if state is None and (len(self.starts) or self.blocks is not None):
            state = self.initial_state(x.shape[1])
        if self.blocks is not None:
            return self.blocks(self._layers(), x, state, mask, records)  # type: ignore[no-any-return]
        final = []
        for k, layer in enumerate(self._layers()):
            outputs, last = layer(x, None if state is None else state[k], mask, None if records is None else records[k])
            x = self._between(k, x, outputs)
            final.append(last)
        return x, tuple(final)

    def step(self, x_t: Tensor, state: StackState | None = None) -> tuple[Tensor, StackState]:
        """One step from ``x_t [B, input_size]``; returns the top output ``[B, output_size]`` and the next state."""
        self._check(x_t, 2, "[B, I]")
        state = self.initial_state(x_t.shape[0]) if state is None else state
        if self.blocks is not None:
            return self.blocks.step(self._layers(), x_t, state)
        new = []
        for k, layer in enumerate(self._layers()):
            outputs, last = layer.step(x_t, state[k])
            x_t = self._between(k, x_t, outputs)
            new.append(last)
        return x_t, tuple(new)

    def summary(self, outputs: Tensor, final: StackState | None = None) -> Tensor:
        """What the stack knows at the end, ``[B, output_size]``: the outputs of the last step (of each direction).

        A block maps both directions to H units together: the mean of its outputs at the first and the last step.

        Args:
            outputs: of the top layer, over time.
            final: the final states. Where they hold the last outputs these come from there, bit for bit the same: a
                gradient by one step of the outputs is zeros at all others, which take time to write and to read.
        """
        top = self._layers()[-1]
        plain = self.blocks is None and not self.norms and not self.composition.residual
        if final is not None and plain and isinstance(top, GatedLayer):
            first, *others = (final[-1][name] for name in top.cell.outputs)
            return torch.cat([first, *others], -1) if others else first
        if self.blocks is not None and isinstance(top, Bidirectional):
            return (outputs[0] + outputs[-1]) / 2
        return top.summary(outputs) if isinstance(top, Bidirectional) else outputs[-1]

    def _between(self, k: int, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Norm, residual sum and dropout after layer `k`."""
        if self.composition.layer_norm:
            outputs = self.norms[k](outputs)
        if self.composition.residual and inputs.shape[-1] == outputs.shape[-1]:
            outputs = outputs + inputs
        if k < len(self.dropouts):
            outputs = self.dropouts[k](outputs)
        return outputs

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
        raise UserError(explain(error, f"cell {quoted(name)}", definition.Options)) from error


def layer(
    name: str,
    input_size: int,
    hidden_size: int,
    depth: int = 1,
    generator: torch.Generator | None = None,
    composition: Composition = PLAIN,
    **options: Any,
) -> Stack:
    """A stack of the registered cell `name`, by its options.

    Examples:
        >>> lstm = layer("lstm", input_size=2, hidden_size=64, forget_bias=1.0)
        >>> outputs, state = lstm(torch.zeros(100, 8, 2))
        >>> outputs.shape
        torch.Size([100, 8, 64])
    """
    return Stack(build(name, options), input_size, hidden_size, depth, generator, composition)
