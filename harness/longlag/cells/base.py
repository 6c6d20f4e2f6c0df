"""The cell contract, and the layer that runs a cell over time.

A *cell* is a definition: options, a version and a way to build a *layer*, the module that holds parameters and maps
``x [T, B, I]`` to outputs ``[T, B, H]`` and a final state. A gated cell states its equations once, as a pointwise
``core``; its layer, its step and its loops follow from that. Anything else (convolutions, attention) implements
`Layer` itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from longlag.kernels import (
    Gate,
    Kernel,
    Layout,
    Named,
    Recurrence,
    Scan,
    State,
    StateGradients,
    Weights,
    unroll,
)
from longlag.kernels.plain import project
from longlag.kernels.plain import step as plain_step
from longlag.options import Configurable, OptionsT_co


class Layer(nn.Module, ABC):
    """A sequence-to-sequence module with an explicit state.

    Attributes:
        input_size: features of ``x [T, B, input_size]``.
        hidden_size: units of every state.
        output_size: features of the outputs ``[T, B, output_size]``.
        state_names: the names of the states, in order.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int, state_names: tuple[str, ...]) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = output_size
        self.state_names = state_names

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """The state before the first step, for a batch of that size."""

    def state_size(self, steps: int) -> int:
        """Numbers kept from one step to the next for one sequence, after so many steps.

        A layer that keeps past inputs one by one has no more of them than there were steps.
        """
        return numbers(self.initial_state(1))

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        """Run over ``x [T, B, I]``; returns outputs ``[T, B, output_size]`` and the final state."""

    @abstractmethod
    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One step from ``x_t [B, I]``; returns the output ``[B, output_size]`` and the next state."""


def numbers(state: State) -> int:
    """How many real numbers a state has; whole ones count steps."""
    return sum(value.numel() for value in state.values() if value.is_floating_point())


class Compilable:
    """A module of which something may run compiled.

    Attributes:
        kernel: what runs it, see `longlag.kernels.unroll`.
    """

    kernel: Kernel = "auto"


class Looped(Compilable):
    """A layer that runs its cell's core over time by a kernel.

    Attributes:
        cell: the core.
        kernel: which loop runs, see `longlag.kernels.unroll`.
        checkpoint_steps: the compiled loop keeps every so many steps only, see there; None leaves it to the kernel.
    """

    cell: Recurrence | Scan
    checkpoint_steps: int | None = None


class Cell(Configurable[OptionsT_co], ABC):
    """A named recurrence with options, ``Cell[ItsOptions]``; the registry holds subclasses, not instances.

    Attributes:
        version: raise it when a change alters the numbers of a run; it is part of the run's identity.
        memoryless: whether outputs depend on the input of the same step alone (a control, not a recurrence).
        learned_state: whether the initial state is a parameter unless a run says otherwise.
        constrained: names of the layer's parameters that an orthogonal or unitary matrix is composed from;
            ``optimizer.constrained_lr`` sets their learning rate apart.
        undecayed: names of the layer's parameters of two axes or more that the paper exempts from weight decay, such
            as rates of decay; ``optimizer.decayed`` set to ``weights`` leaves them and all vectors alone.
    """

    version: ClassVar[int] = 1
    memoryless: ClassVar[bool] = False
    learned_state: ClassVar[bool] = False
    constrained: ClassVar[tuple[str, ...]] = ()
    undecayed: ClassVar[tuple[str, ...]] = ()

    @property
    def formula(self) -> str:
        """The parameters of one layer as an expression in I and H, such as ``4*H*(I + H + 1)``; empty: not stated."""
        return ""

    @abstractmethod
    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> Layer:
        """Build one layer, its parameters drawn from `generator` as the cell's paper says."""

    def initialise_state(
        self, state: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None
    ) -> None:
        """Draw a learned initial state in place (every tensor is one example's); zeros by default."""
        for tensor in state.values():
            tensor.zero_()


class GatedCell(Cell[OptionsT_co]):
    """A cell that is dense products followed by a pure pointwise core.

    A subclass declares what it is made of and writes `core` with torch functions only: no in-place operation, no
    data-dependent branch, nothing but its three arguments and numbers from its options. ``g`` holds the gates'
    pre-activations, ``s`` the previous states, ``p`` the per-unit parameters; all broadcast to ``[B, H]``.

    Attributes:
        gates: the dense pre-activations, see `longlag.kernels.Gate`.
        states: names of the states; the core returns every one of them.
        outputs: the states that make up the layer's output, concatenated.
        units: names of the per-unit parameters (peepholes, time constants ...), each ``[H]``.
        intermediates: what `first_stage` returns, for cells with two stages.
    """

    gates: tuple[Gate, ...]
    states: tuple[str, ...] = ("h",)
    outputs: tuple[str, ...] = ("h",)
    units: tuple[str, ...] = ()
    intermediates: tuple[str, ...] = ()

    @abstractmethod
    def core(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        """The next state by name, from pre-activations, previous state and per-unit parameters."""

    def first_stage(self, g: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        """The intermediates by name, from the gates that need none."""
        raise NotImplementedError(f"{type(self).__name__} declares intermediates but no first_stage")

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the trainable parameters. By default they are the effective weights themselves."""
        layout = Layout.of(self)
        shapes: dict[str, tuple[int, ...]] = {}
        if layout.inputs:
            shapes["weight_ih"] = (len(layout.inputs) * hidden_size, input_size)
        for name, product in zip(self._matrices, layout.products, strict=True):
            shapes[name] = (len(product.gates) * hidden_size, len(product.sources) * hidden_size)
        if layout.biases:
            shapes["bias"] = (len(layout.biases) * hidden_size,)
        if layout.splits:
            shapes["bias_hh"] = (len(layout.splits) * hidden_size,)
        shapes.update((name, (hidden_size,)) for name in self.units)
        return shapes

    def initialise(self, parameters: Mapping[str, Tensor], hidden_size: int, generator: torch.Generator | None) -> None:
        """Draw the parameters in place. By default as ``torch.nn``: all of them U(-1/sqrt(H), 1/sqrt(H))."""
        bound = 1 / math.sqrt(hidden_size)
        for tensor in parameters.values():
            tensor.uniform_(-bound, bound, generator=generator)

    def buffers(self, hidden_size: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """What is drawn once and never trained (a permutation, say), by name; saved with the layer."""
        return {}

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """The effective weights, composed from the parameters (and buffers) once per forward call.

        What autograd differentiates slowly may be handed over as `longlag.kernels.Derived`, its derivative written out.
        """
        return Weights(
            weight_ih=parameters.get("weight_ih"),
            weight_hh=tuple([parameters[name] for name in self._matrices]),
            bias=parameters.get("bias"),
            bias_hh=parameters.get("bias_hh"),
            units={name: parameters[name] for name in self.units},
        )

    @cached_property
    def _matrices(self) -> tuple[str, ...]:
        """The names of the recurrent matrices."""
        count = len(Layout.of(self).products)
        return tuple("weight_hh" if k == 0 else f"weight_hh_{k + 1}" for k in range(count))

    def initial_state(self, batch: int, hidden_size: int, like: Tensor) -> State:
        """The state before the first step: zeros of the dtype and on the device of `like`."""
        return {name: like.new_zeros(batch, hidden_size) for name in self.states}

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> GatedLayer:
        return GatedLayer(self, input_size, hidden_size, generator)


def rows(layout_names: tuple[str, ...], packed: Tensor, name: str) -> Tensor:
    """The rows of one gate in a packed parameter, as a view (to initialise ``bias`` of the forget gate, say)."""
    k = layout_names.index(name)
    size = packed.shape[0] // len(layout_names)
    return packed[k * size : (k + 1) * size]


class GatedLayer(Layer, Looped):
    """A gated cell over time. Parameter names and shapes are those of `GatedCell.shapes`.

    Attributes:
        names: the parameters and buffers that `GatedCell.weights` is given.
    """

    cell: GatedCell

    def __init__(
        self, cell: GatedCell, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, len(cell.outputs) * hidden_size, tuple(cell.states))
        self.cell = cell
        self.layout = Layout.of(cell)
        self._zeros: Tensor | None = None
        self.names = tuple(cell.shapes(input_size, hidden_size))
        for name, shape in cell.shapes(input_size, hidden_size).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        with torch.no_grad():
            cell.initialise({name: getattr(self, name) for name in self.names}, hidden_size, generator)
        buffers = cell.buffers(hidden_size, generator)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)
        self.names = (*self.names, *buffers)

    def weights(self) -> Weights:
        """The effective weights of this layer, every one a tensor."""
        return self._weights().computed()

    def _weights(self) -> Weights:
        own: Mapping[str, Any] = self._parameters  # past nn.Module's slow way to them
        if tuple(own) != self.names:  # there are buffers, or torch parametrizes one
            own = {name: getattr(self, name) for name in self.names}
        return self.cell.weights(own)

    def initial_state(self, batch: int) -> State:
        return self.cell.initial_state(batch, self.hidden_size, self._like())

    def _like(self) -> Tensor:
        own = next(iter(self._parameters.values()), None)  # self.parameters() walks every submodule: slow
        return next(self.parameters()) if own is None else own

    def _start(self, batch: int) -> State:
        """`initial_state`, to be read only: zeros are made once for batches of a size."""
        like = self._like()
        if type(self.cell).initial_state is not GatedCell.initial_state or type(like) is not nn.Parameter:
            return self.initial_state(batch)
        zeros = self._zeros
        if zeros is None or zeros.shape[0] != batch or zeros.dtype != like.dtype or zeros.device != like.device:
            with torch.inference_mode(False):  # tensors of inference may not be kept for a backward pass
                zeros = self._zeros = like.new_zeros(batch, self.hidden_size)
        return dict.fromkeys(self.cell.states, zeros)

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        mask: Tensor | None = None,
        record: StateGradients | None = None,
    ) -> tuple[Tensor, State]:
        state = self._start(x.shape[1]) if state is None else state
        return unroll(self.cell, self._weights(), x, state, mask, record, self.kernel, self.checkpoint_steps)

    def step(self, x_t: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = self.initial_state(x_t.shape[0]) if state is None else state
        weights = self.weights()
        projected, biases = project(self.layout, weights, x_t)
        new = plain_step(self.cell, self.layout, weights, projected, biases, state)
        first, *others = (new[name] for name in self.cell.outputs)
        return torch.cat([first, *others], -1) if others else first, new
