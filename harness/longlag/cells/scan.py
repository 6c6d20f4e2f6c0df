"""Cells with vectors of vectors or matrices as states: the contract, and the layer that runs such a cell over time.

A scan cell names the axes of its tensors and states its equations once, as a pure core. Step, plain loop, compiled
loop and gradient norms through time follow from that, as for gated cells. Where the two differ:

- A gated cell has dense products with weights in every step. A scan cell has none: what it needs of the inputs is
  computed before the loop by its layer, in ordinary torch, and what follows the read-out is computed after it.
- A gated cell's output is its state. A scan cell reads its output from the state within the core, so that states are
  not kept over time.

A core over a matrix for each head, ``S [v, k]``:

    class Fading(ScanCell):
        axes = ("v", "k")
        states = {"S": ("v", "k")}
        inputs = {"w": ("k",), "v": ("v",), "k": ("k",), "q": ("k",)}
        outputs = {"y": ("v",)}

        def core(self, x, s, p):
            S = s.S * x.w + x.v * x.k
            return {"S": S, "y": self.sum(S * x.q, "k")}

Every tensor that a core is given has a dimension for each of the cell's axes, in their order, of size 1 where the
tensor lacks the axis (and before them dimensions for examples and heads, which it never touches). So everything
broadcasts: ``x.v * x.k`` is the outer product, ``self.sum(S * x.q, "k")`` the product of the matrix and a vector, and
``x.beta * S`` scales by a number a head. `ScanCell.sum` keeps the dimension, with size 1.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from longlag.cells.base import Cell, Looped
from longlag.cells.readout import ReadoutLayer
from longlag.kernels import Axes, Named, State, StateGradients, run_scan
from longlag.options import OptionsT_co

NO_PARAMETERS: Mapping[str, Axes] = MappingProxyType({})


class ScanCell(Cell[OptionsT_co]):
    """A cell whose states are vectors, vectors of vectors or matrices, one set for each of n heads.

    A subclass declares its tensors by their axes and writes `core` with torch functions only: no in-place operation,
    no data-dependent branch, no random number, nothing but its three arguments and numbers from its options. ``x``
    holds the inputs of the step, ``s`` the previous states, ``p`` what is the same at every step; every tensor
    broadcasts to ``[B, n, *axes]``, see the module's first lines. A core may

    - compute element by element, with broadcasting;
    - sum over an axis by `sum`, or take the `mean`. The compiled loop takes the first axis apart into parts that know
      nothing of each other. So an output may be a sum over it, times what is the same along it; a core that goes on
      with such a sum runs on the plain loop, several times slower;
    - multiply a state, or what has its axes, by a square matrix along the second axis: ``s.S @ p.W``. The parameter is
      declared with that axis twice, ``{"W": ("k", "k")}``, and a core uses it once.

    So put first the axis along which the state is independent: the value axis of a matrix that maps keys to values
    (``("v", "k")``), the channels of a layer whose every channel has N states (``("h", "n")``, one head). The first
    axis is also the one that is vectorised: 16 or more elements, a multiple of 16, are fastest.

    Which attributes are properties of the options may be properties of the class.

    Attributes:
        axes: names of all axes, at most two, in order.
        states: the axes of every state; the core returns every one of them.
        inputs: the axes of what a step reads, ``[T, B, n, *axes]``.
        parameters: the axes of what the core reads besides, the same at every step, ``[n, *axes]``.
        outputs: the axes of what the core returns besides the new states, ``[T, B, n, *axes]``.
    """

    axes: Axes = ("v", "k")
    states: Mapping[str, Axes] = MappingProxyType({"S": ("v", "k")})
    inputs: Mapping[str, Axes]
    parameters: Mapping[str, Axes] = NO_PARAMETERS
    outputs: Mapping[str, Axes] = MappingProxyType({"y": ("v",)})

    @abstractmethod
    def core(self, x: Named, s: Named, p: Named) -> Mapping[str, Tensor]:
        """The next states and the outputs by name, from inputs, previous states and parameters."""

    def sum(self, values: Tensor, axis: str) -> Tensor:
        """The sum over one axis, for a core; the axis stays, with size 1."""
        return values.sum(self.axes.index(axis) - len(self.axes), keepdim=True)

    def mean(self, values: Tensor, axis: str) -> Tensor:
        """The mean over one axis, for a core: no core knows how many elements there are."""
        return self.sum(values, axis) / self.sum(torch.ones_like(values), axis)


class ScanLayer(ReadoutLayer, Looped):
    """A scan cell over time; a subclass computes the core's inputs in `run` and calls `scan` there.

    Its states are ``h``, the last output (see `ReadoutLayer`), those of the cell, ``[B, n, *axes]``, and what a
    subclass carries on besides (the last inputs of a convolution).

    Args:
        cell: the core.
        input_size: features of ``x``.
        hidden_size: features of the outputs.
        heads: n.
        sizes: of the cell's axes.
        carried: shapes of the other states, for one example.
    """

    cell: ScanCell

    def __init__(
        self,
        cell: ScanCell,
        input_size: int,
        hidden_size: int,
        heads: int,
        sizes: Mapping[str, int],
        carried: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        super().__init__(input_size, hidden_size, (*cell.states, *carried))
        self.cell, self.heads, self.sizes = cell, heads, dict(sizes)
        self.shapes = {name: (heads, *(sizes[axis] for axis in own)) for name, own in cell.states.items()}
        self.shapes.update(carried)

    def scan_state(self, batch: int) -> State:
        like = next(self.parameters())
        return {name: like.new_zeros(batch, *shape) for name, shape in self.shapes.items()}

    def scan(
        self,
        inputs: State,
        parameters: State,
        state: State,
        mask: Tensor | None,
        record: StateGradients | None,
    ) -> tuple[State, State]:
        """Run the core: its outputs over time and its final states; see `longlag.kernels.run_scan`."""
        return run_scan(
            self.cell, inputs, parameters, state, mask, record, self.kernel, self.checkpoint_steps
        )  # fmt: skip
