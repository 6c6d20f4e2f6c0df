"""Cells of several heads that write values under keys into a matrix and read it with queries.

The layer around the core is the same for all of them:

    u_t = x_t, or W_u x_t + b_u where I differs from H
    q_t, k_t, v_t = W_q u_t, W_k u_t, W_v u_t              n heads, with a short convolution and SiLU behind it or not
    y_t = the core's output for each head                   [n, d_v]
    h_t = W_o (rmsnorm(y_t) * silu(W_g u_t))                the norm for each head; without a gate: W_o rmsnorm(y_t)

A subclass of `HeadsCell` is complete with a core: every input that it declares besides ``q``, ``k`` and ``v`` is then a
dense product of u_t with a bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypeVar

from longlag.cells.convolution import WIDTH, ShortConvolution, convolve
from longlag.cells.parts import RMSNorm, Share
from longlag.cells.readout import linear
from longlag.cells.rows import GATED
from longlag.cells.scan import ScanCell, ScanLayer
from longlag.kernels import Axes, State, StateGradients, columns, run_rows
from longlag.options import Options


class HeadsOptions(Options):
    heads: int = Field(default=4, ge=1)
    expand_k: float = Field(default=1.0, gt=0)
    expand_v: float = Field(default=1.0, gt=0)
    convolution: bool = False
    gate: bool = False


HeadsOptionsT_co = TypeVar("HeadsOptionsT_co", bound=HeadsOptions, default=HeadsOptions, covariant=True)
PACKED = ("q", "k", "v")


class HeadsCell(ScanCell[HeadsOptionsT_co]):
    """A scan cell with queries, keys and values; see the module's first lines for the layer around it.

    ``heads`` is n. Keys of a head have ``expand_k`` H / n numbers, values ``expand_v`` H / n, both rounded up.
    ``convolution`` puts a causal convolution of width 4 with SiLU behind the products that make q, k and v.

    Attributes:
        inputs: ``q``, ``k`` and ``v`` with these axes, and what a core reads besides.
        convolve_values: whether v has a convolution, and SiLU, where q and k have.
        activate: whether q, k and v go through SiLU where there is no convolution.
        activate_convolution: whether they do where there is one.
        head_norm: whether the outputs of a head are normalised.
        joint_norm: whether they are normalised together with those of the other heads.
        writes: keys and values a step; a head has those of all writes one after the other.
    """

    inputs: Mapping[str, Axes] = {"q": ("k",), "k": ("k",), "v": ("v",)}
    convolve_values: ClassVar[bool] = True
    activate: ClassVar[bool] = False
    activate_convolution: ClassVar[bool] = True
    joint_norm: ClassVar[bool] = False

    @property
    def head_norm(self) -> bool:
        return True

    @property
    def writes(self) -> int:
        return 1

    def size(self, axis: str, hidden_size: int) -> int:
        """The size of an axis for a head."""
        return self._share(axis).of(hidden_size)

    def _share(self, axis: str) -> Share:
        return Share(self.options.expand_k if axis == "k" else self.options.expand_v, self.options.heads)

    def sizes(self, hidden_size: int) -> dict[str, int]:
        return {axis: self.size(axis, hidden_size) for axis in self.axes}

    def width(self, axis: str) -> str:
        """The size of an axis over all heads as an expression in H."""
        return f"{self.options.heads}*{self._one(axis)}"

    def _one(self, axis: str) -> str:
        """The same for one head."""
        return self._share(axis).formula

    @property
    def extra(self) -> tuple[str, ...]:
        """The inputs besides q, k and v."""
        return tuple(name for name in self.inputs if name not in PACKED)

    @property
    def around(self) -> str:
        """The parameters of the layer, those of the `extra` inputs left out, as an expression in I and H."""
        keys, values, writes = self.width("k"), self.width("v"), self.writes
        parts = [
            f"{1 + writes}*{keys}*H",
            f"{1 + writes + self.options.gate}*{values}*H",
            "(I != H)*H*(I + 1)",
        ]
        if self.options.convolution:
            parts.append(f"4*({1 + writes}*{keys} + {writes * self.convolve_values}*{values})")
        if self.head_norm:
            parts.append(self.width("v") if self.joint_norm else self._one("v"))
        return " + ".join(parts)

    @property
    def formula(self) -> str:
        widths = ["*".join([str(self.options.heads), *map(self._one, self.inputs[name])]) for name in self.extra]
        return " + ".join([self.around, *(f"{width}*(H + 1)" for width in widths)])

    def layer(self, input_size: int, hidden_size: int, generator: torch.Generator | None = None) -> HeadsLayer:
        return HeadsLayer(self, input_size, hidden_size, generator)


class HeadsLayer(ScanLayer):
    """A cell of several heads over time. A subclass may compute the core's inputs and parameters its own way."""

    cell: HeadsCell

    def __init__(
        self, cell: HeadsCell, input_size: int, hidden_size: int, generator: torch.Generator | None = None
    ) -> None:
        options, sizes = cell.options, cell.sizes(hidden_size)
        keys, values = options.heads * sizes["k"], options.heads * sizes["v"]
        widths = (keys, cell.writes * keys, cell.writes * values)
        mixed = sum(widths) if cell.convolve_values else sum(widths[:2])
        carried = {"window": (WIDTH - 1, mixed)} if options.convolution else {}
        super().__init__(cell, input_size, hidden_size, options.heads, sizes, carried)
        self.widths, self.mixed = widths, mixed
        self.encoder = None if input_size == hidden_size else linear(input_size, hidden_size, generator)
        self.project = linear(hidden_size, sum(self.widths), generator, bias=False)
        self.convolution = None
        if options.convolution:
            self.convolution = ShortConvolution(self.mixed, generator, silu=cell.activate_convolution)
        self.add_inputs(generator)
        self.norm = RMSNorm(values if cell.joint_norm else sizes["v"]) if cell.head_norm else None
        self.gate = linear(hidden_size, values, generator, bias=False) if options.gate else None
        self.out = linear(values, hidden_size, generator, bias=False)

    def add_inputs(self, generator: torch.Generator | None) -> None:
        """Make the parameters from which `core_inputs` and `core_parameters` come, q, k and v aside."""
        self.extra = None
        self.parts = {
            name: math.prod([self.heads, *(self.sizes[a] for a in self.cell.inputs[name])]) for name in self.cell.extra
        }
        if self.parts:
            self.extra = linear(self.hidden_size, sum(self.parts.values()), generator)

    def core_inputs(self, u: Tensor, q: Tensor, k: Tensor, v: Tensor) -> State:
        """What the core reads at every step, from ``u [T, B, H]`` and ``q, k, v [T, B, n, d]``."""
        found = {"q": q, "k": k, "v": v}
        if self.extra is not None:
            values = columns(self.extra(u), list(self.parts.values()))
            for name, value in zip(self.parts, values, strict=True):
                shape = (self.heads, *(self.sizes[axis] for axis in self.cell.inputs[name]))
                found[name] = value.unflatten(-1, shape)
        return found

    def core_parameters(self) -> State:
        """What the core reads besides, the same at every step: ``[n, *axes]``."""
        return {}

    def run(self, x: Tensor, state: State, mask: Tensor | None, record: StateGradients | None) -> tuple[Tensor, State]:
        u = x if self.encoder is None else self.encoder(x)
        packed = self.project(u)
        first, *rest = columns(packed, [self.mixed, *self.widths[2:]]) if self.mixed < packed.shape[-1] else [packed]
        mixed, carried = convolve(self.convolution, first, state, mask)
        if self.convolution is None and self.cell.activate:
            mixed = F.silu(mixed)
        parts = [*columns(mixed, self.widths[: 3 - len(rest)]), *rest]
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        inputs = self.core_inputs(u, q, k, v)
        outputs, final = self.scan(inputs, self.core_parameters(), state, mask, record)
        y = outputs["y"].flatten(-2) if self.cell.joint_norm else outputs["y"]
        gate = None if self.gate is None else self.gate(u).view_as(y)
        y = y if self.norm is None else self.norm(y, gate)
        y = y if self.cell.joint_norm else y.flatten(-2)
        if gate is not None and self.norm is None:
            y = run_rows(GATED, {"y": y, "g": gate.view_as(y)}, {}, self.kernel)["h"]
        return self.out(y), {**final, **carried}
