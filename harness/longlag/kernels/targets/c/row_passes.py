"""The kernel of a function of rows: its library, where its tensors lie, and the calls in both directions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.columns import Place, gradients_at, places_of
from longlag.kernels.compiler.scan_plan import ScanPlan
from longlag.kernels.targets.c import build
from longlag.kernels.targets.c.call import CallLayout
from longlag.kernels.targets.c.passes import WORK_PER_THREAD, addresses
from longlag.kernels.targets.c.row_source import sizes, source
from longlag.kernels.targets.c.supported import NUMPY, REAL
from longlag.kernels.targets.target import CannotBuild, Maybe, RowKernel

SIZES = ("B", "n", "K", "threads", "m", "x", "x_group", "x_row", "p")
FORWARD = (*SIZES, "y")
BACKWARD = (*SIZES, "grad_y", "grad_x", "grad_group", "grad_row", "grad_p", "grad_stride")
"""Fields of a ``Call`` in the order in which the library's functions take them."""
WORK = 20
"""Multiplications for an element, forward and backward, roughly."""


class CRowKernel(RowKernel):
    """A function of rows in C, printed and built for one dtype.

    Raises:
        CannotBuild: when the compiler or the loader fails.
    """

    def __init__(self, plan: ScanPlan, dtype: torch.dtype) -> None:
        super().__init__(plan, dtype)
        layout = CallLayout(sizes(plan), header="row_call.h")
        try:
            library = build.load(source(plan, REAL[dtype]))
        except (build.BuildError, OSError) as error:
            raise CannotBuild(f"{plan.name} is not compiled: building it failed ({error})") from error
        self._pack_forward, self._pack_backward = layout.packer(FORWARD), layout.packer(BACKWARD)
        self._forward, self._backward = library.longlag_forward, library.longlag_backward
        for function in (self._forward, self._backward):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]
        library.longlag_call_size.restype = ctypes.c_long
        if library.longlag_call_size() != layout.size:
            raise CannotBuild(
                f"{plan.name} is not compiled: on this machine addresses and sizes have not eight bytes each"
            )

    def places(self, inputs: Sequence[Tensor]) -> list[Place]:
        return places_of(inputs, lead(inputs[0]))

    def call(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> tuple[int, tuple[object, ...]]:
        """The number of threads, and the fields `SIZES`."""
        shape = inputs[0].shape
        groups, rows = math.prod(shape[:-2]), shape[-2] if len(shape) > 1 else 1
        work = inputs[0].numel() * len(inputs) * WORK
        threads = max(1, min(torch.get_num_threads(), groups, int(work / WORK_PER_THREAD)))
        period = parameters[0].shape[0] if parameters else 1
        return threads, (
            groups, rows, shape[-1], threads, period, addresses(inputs), *strides(inputs), addresses(parameters),
        )  # fmt: skip

    def forward(self, inputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        outputs = [memory.empty(tuple(inputs[0].shape), self.dtype) for _ in self.plan.outputs]
        _, call = self.call(inputs, parameters)
        if self._forward(self._pack_forward(*call, addresses(outputs))):
            raise MemoryError("compiled rows could not allocate their work space")
        return outputs

    def backward(
        self,
        inputs: Sequence[Tensor],
        parameters: Sequence[Tensor],
        places: Sequence[Place],
        by_outputs: Sequence[Tensor],
        need: Sequence[bool],
    ) -> Sequence[Maybe]:
        threads, call = self.call(inputs, parameters)
        by_inputs = gradients_at(places, lead(inputs[0]), need[: len(inputs)], self.dtype)
        count = sum(parameter.numel() for parameter in parameters)
        sums = torch.from_numpy(np.zeros((threads, count), NUMPY[self.dtype]))
        by_parameters = [
            part.view(parameter.shape)
            for part, parameter in zip(
                sums[0].split([p.numel() for p in parameters]) if parameters else (), parameters, strict=True
            )
        ]
        fields = (addresses(by_outputs), addresses(by_inputs), *strides(by_inputs), addresses(by_parameters), count)
        if self._backward(self._pack_backward(*call, *fields)):
            raise MemoryError("compiled rows could not allocate their work space")
        if threads > 1:
            sums[0] = sums.sum(0)
        return [*by_inputs, *by_parameters]


def lead(tensor: Tensor) -> int:
    """Axes before the last two."""
    return max(0, tensor.dim() - 2)


def strides(tensors: Sequence[Maybe]) -> tuple[list[int], list[int]]:
    """Of every tensor, the numbers from one group of rows, and from one row of it, to the next."""
    groups, rows = [], []
    for tensor in tensors:
        lengths = () if tensor is None else tuple(zip(tensor.shape, tensor.stride(), strict=True))
        # the stride of an axis with one element says nothing
        groups.append(next((stride for size, stride in lengths[-3::-1] if size > 1), 0) if len(lengths) > 2 else 0)
        rows.append(lengths[-2][1] if len(lengths) > 1 else 0)
    return groups, rows
