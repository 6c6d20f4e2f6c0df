"""The kernel of a chain: its library, where its tensors lie, and the calls in both directions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.chain import Apply, Dense, Shape
from longlag.kernels.columns import Place, gradients_at, places_of
from longlag.kernels.compiler.chain_plan import ChainPlan
from longlag.kernels.targets.c import build
from longlag.kernels.targets.c.call import CallLayout
from longlag.kernels.targets.c.chain_source import sizes, source
from longlag.kernels.targets.c.passes import WORK_PER_THREAD, addresses
from longlag.kernels.targets.c.supported import NUMPY, REAL
from longlag.kernels.targets.c.tiles import tiles
from longlag.kernels.targets.target import CannotBuild, ChainKernel, Maybe

SIZES = ("B", "block", "threads", "width", "value", "value_row", "length", "p", "p_rows", "p_width")
BACKWARD = (*SIZES, "grad", "grad_row", "grad_p", "grad_stride")
"""Fields of a ``Call`` in the order in which the library's functions take them."""
WORK = 20
"""Multiplications for an element of a function, forward and backward, roughly."""
BLOCK_BYTES = 1 << 19
"""Bytes of all values and gradients of a block: a part of the second cache, the rest being for weights."""
BLOCK_ROWS = (48, 480)
"""Rows of a block: at least and at most."""


class Sizes(NamedTuple):
    """Of a call, for tensors of some shapes.

    Args:
        own: the axes of every value behind those of the rows.
        widths: their numbers.
        lengths: numbers of a row of every function.
        block: rows of a block.
        work: multiplications of a row, forward and backward.
    """

    own: dict[str, Shape]
    widths: list[int]
    lengths: list[int]
    block: int
    work: int


class CChainKernel(ChainKernel):
    """A chain in C, printed and built for one dtype.

    Raises:
        CannotBuild: when the compiler or the loader fails.
    """

    def __init__(self, plan: ChainPlan, dtype: torch.dtype) -> None:
        super().__init__(plan, dtype)
        try:
            library = build.load(source(plan, REAL[dtype]))
            products = {}
            if any(isinstance(step, Dense) for step in plan.chain.steps):
                t = tiles(REAL[dtype])
                products = {"multiply": t.multiply_from, "pack": t.pack, "outer": t.outer, "panel": t.panel}
        except (build.BuildError, OSError) as error:
            raise CannotBuild(f"{plan.name} is not compiled: building it failed ({error})") from error
        layout = CallLayout(sizes(plan), products, "chain_call.h")
        self._pack_forward, self._pack_backward = layout.packer(SIZES), layout.packer(BACKWARD)
        self._forward, self._backward = library.longlag_forward, library.longlag_backward
        for function in (self._forward, self._backward):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]
        library.longlag_call_size.restype = ctypes.c_long
        if library.longlag_call_size() != layout.size:
            raise CannotBuild(
                f"{plan.name} is not compiled: on this machine addresses and sizes have not eight bytes each"
            )
        self._sizes: dict[tuple[Shape, ...], Sizes] = {}

    def sizes(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], lead: int) -> Sizes:
        """Computed once for some shapes.

        Raises:
            ValueError: for a weight or parameter that does not fit.
        """
        key = (*(tensor.shape[lead:] for tensor in inputs), *(parameter.shape for parameter in parameters))
        if key not in self._sizes:
            chain = self.plan.chain
            own = chain.shapes(key[: len(inputs)], key[len(inputs) :])
            given = dict(zip(chain.parameters, key[len(inputs) :], strict=True))
            widths = [math.prod(own[value]) for value in self.plan.values]
            lengths = [chain.length(step, own, given) for step in chain.steps if isinstance(step, Apply)]
            least, most = BLOCK_ROWS
            block = max(least, min(most, BLOCK_BYTES // (2 * max(1, sum(widths)) * self.dtype.itemsize)))
            work = WORK * sum(widths) + 3 * sum(math.prod(shape) for shape in given.values())
            self._sizes[key] = Sizes(own, widths, lengths, block, work)
        return self._sizes[key]

    def places(self, inputs: Sequence[Tensor], lead: int) -> list[Place]:
        return places_of(inputs, lead)

    def call(
        self, sizes: Sizes, given: dict[str, Tensor], parameters: Sequence[Tensor], rows: int, lead: int
    ) -> tuple[int, tuple[object, ...]]:
        """The number of threads, and the fields `SIZES`; `given` are the values that lie outside the work space."""
        threads = max(1, min(torch.get_num_threads(), rows, int(rows * sizes.work / WORK_PER_THREAD)))
        values = [given.get(value) for value in self.plan.values]
        shapes = [parameter.shape for parameter in parameters]
        return threads, (
            rows, sizes.block, threads, sizes.widths, addresses(values), row_strides(values, lead), sizes.lengths,
            addresses(parameters), [shape[0] for shape in shapes], [math.prod(shape[1:]) for shape in shapes],
        )  # fmt: skip

    def forward(
        self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], lead: int, keep: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        sizes, chain, first = self.sizes(inputs, parameters, lead), self.plan.chain, inputs[0].shape[:lead]
        outputs = [memory.empty((*first, *sizes.own[name]), self.dtype) for name in chain.outputs]
        kept = [memory.empty((*first, *sizes.own[name]), self.dtype) for name in self.plan.kept] if keep else []
        given = dict(zip((*chain.inputs, *chain.outputs), (*inputs, *outputs), strict=True))
        given.update(zip(self.plan.kept, kept, strict=False))
        _, call = self.call(sizes, given, parameters, math.prod(first), lead)
        if self._forward(self._pack_forward(*call)):
            raise MemoryError("a compiled chain could not allocate its work space")
        return outputs, kept

    def backward(
        self,
        inputs: Sequence[Tensor],
        parameters: Sequence[Tensor],
        kept: Sequence[Tensor],
        places: Sequence[Place],
        by_outputs: Sequence[Tensor],
        lead: int,
        need: Sequence[bool],
    ) -> list[Maybe]:
        sizes, chain = self.sizes(inputs, parameters, lead), self.plan.chain
        given = dict(zip((*chain.inputs, *self.plan.kept), (*inputs, *kept), strict=True))
        threads, call = self.call(sizes, given, parameters, math.prod(inputs[0].shape[:lead]), lead)
        by_inputs = gradients_at(places, lead, need[: len(inputs)], self.dtype)
        wanted = need[len(inputs) :]
        ends = np.cumsum([p.numel() if want else 0 for p, want in zip(parameters, wanted, strict=True)]).tolist()
        count = ends[-1] if ends else 0
        sums = torch.from_numpy(np.zeros((threads, count), NUMPY[self.dtype]))
        by_parameters = [
            sums[0, end - parameter.numel() : end].view(parameter.shape) if want else None
            for parameter, end, want in zip(parameters, ends, wanted, strict=True)
        ]
        arrived = dict(zip((*chain.inputs, *chain.outputs), (*by_inputs, *by_outputs), strict=True))
        gradients = [arrived.get(value) for value in self.plan.values]
        fields = (addresses(gradients), row_strides(gradients, lead), addresses(by_parameters), count)
        if self._backward(self._pack_backward(*call, *fields)):
            raise MemoryError("a compiled chain could not allocate its work space")
        if threads > 1:
            sums[0] = sums.sum(0)
        return [*by_inputs, *by_parameters]


def row_strides(tensors: Sequence[Maybe], lead: int) -> list[int]:
    """Of every tensor, the numbers from one row to the next."""
    found = []
    for tensor in tensors:
        lengths = () if tensor is None else tuple(zip(tensor.shape[:lead], tensor.stride(), strict=False))
        # the stride of an axis with one element says nothing
        found.append(next((stride for size, stride in lengths[::-1] if size > 1), 0))
    return found
