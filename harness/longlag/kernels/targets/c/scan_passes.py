"""The kernel of a scan: its library, where the tensors of a pass lie, and the calls in both directions."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from longlag.kernels import memory
from longlag.kernels.columns import Place, gradients_at, places_of
from longlag.kernels.compiler.scan_plan import ScanPlan
from longlag.kernels.scan import Axes
from longlag.kernels.targets.c import build
from longlag.kernels.targets.c.call import CallLayout, Field
from longlag.kernels.targets.c.passes import WORK_PER_THREAD, address, addresses
from longlag.kernels.targets.c.scan_source import sizes, source
from longlag.kernels.targets.c.supported import NUMPY, REAL
from longlag.kernels.targets.target import CannotBuild, Maybe, ScanKernel, ScanPass

SIZES = ("T", "B", "n", "V", "K", "threads", "C", "mask")
INPUTS = ("x", "x_t", "x_b", "x_n")
FORWARD = (*SIZES, *INPUTS, "p", "initial", "final", "y", "kept")
BACKWARD = (
    *SIZES, *INPUTS, "p", "kept", "grad_y", "grad_final", "grad_x", "grad_t", "grad_b", "grad_n", "grad_p",
    "grad_stride", "grad_initial", "squares",
)  # fmt: skip
"""Fields of a ``Call`` in the order in which the library's functions take them."""
WORK = 20
"""Multiplications for an element of a state and step, forward and backward, roughly."""


class CScanKernel(ScanKernel):
    """A scan in C, printed and built for one dtype.

    Raises:
        CannotBuild: when the compiler or the loader fails.
    """

    takes_strided = True

    def __init__(self, plan: ScanPlan, dtype: torch.dtype) -> None:
        super().__init__(plan, dtype)
        layout = CallLayout(sizes(plan), header="scan_call.h")
        try:
            library = build.load(source(plan, REAL[dtype]))
        except (build.BuildError, OSError) as error:
            raise CannotBuild(f"cell {plan.name} is not compiled: building it failed ({error})") from error
        self._pack_sizes = layout.packer(SIZES)
        self._pack_forward, self._pack_backward = layout.packer(FORWARD), layout.packer(BACKWARD)
        functions = (library.longlag_forward, library.longlag_backward, library.longlag_kept_size)
        for function, result in zip(functions, (ctypes.c_int, ctypes.c_int, ctypes.c_long), strict=True):
            function.restype, function.argtypes = result, [ctypes.c_char_p]
        self._forward, self._backward, self._kept_size = functions
        library.longlag_call_size.restype = ctypes.c_long
        if library.longlag_call_size() != layout.size:
            raise CannotBuild(
                f"cell {plan.name} is not compiled: on this machine addresses and sizes have not eight bytes each"
            )

    def start(
        self, sizes: Mapping[str, int], mask: Maybe, squares: Sequence[Maybe], checkpoint_steps: int | None
    ) -> CScanPass:
        return CScanPass(self, sizes, mask, squares, checkpoint_steps)

    def forward(self, *values: Field) -> None:
        """Run with the fields `FORWARD` of a ``Call``; the interpreter lock is released meanwhile."""
        if self._forward(self._pack_forward(*values)):
            raise MemoryError("the compiled loop could not allocate its work space")

    def backward(self, *values: Field) -> None:
        """As `forward`, with the fields `BACKWARD`."""
        if self._backward(self._pack_backward(*values)):
            raise MemoryError("the compiled loop could not allocate its work space")

    def kept_size(self, *sizes: Field) -> int:
        """Numbers of what is kept of one example and head at one step; `sizes` are the fields `SIZES`."""
        return int(self._kept_size(self._pack_sizes(*sizes)))


class CScanPass(ScanPass):
    """A run over one batch. The states before every C-th step are kept, in an order of the kernel's own."""

    def __init__(
        self,
        kernel: CScanKernel,
        sizes: Mapping[str, int],
        mask: Maybe,
        squares: Sequence[Maybe],
        checkpoint_steps: int | None,
    ) -> None:
        self.kernel, self.plan, self.dtype = kernel, kernel.plan, kernel.dtype
        self.sizes, self.mask, self.squares = sizes, mask, squares
        self.places: list[Place] = []
        """Where the inputs lie; their gradients lie in the same way."""
        self.steps, self.batch, self.heads = sizes["steps"], sizes["batch"], sizes["heads"]
        lanes, rows = ([*(sizes[axis] for axis in self.plan.axes), 1])[:2]
        self.chunk = min(self.steps, checkpoint_steps or max(1, math.isqrt(self.steps)))
        work = self.steps * self.batch * self.heads * lanes * rows * WORK
        self.threads = max(1, min(torch.get_num_threads(), self.batch, int(work / WORK_PER_THREAD)))
        self.call = (self.steps, self.batch, self.heads, lanes, rows, self.threads, self.chunk, address(mask))
        """The fields `SIZES`."""

    def shape(self, own: Axes, *lead: int) -> tuple[int, ...]:
        return (*lead, *(self.sizes[axis] for axis in own))

    def empty(self, own: Axes, *lead: int) -> Tensor:
        return memory.empty(self.shape(own, *lead), self.dtype)

    def forward(
        self, inputs: Sequence[Tensor], parameters: Sequence[Tensor], initial: Sequence[Tensor], keep: bool
    ) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        outputs = [self.empty(own, self.steps, self.batch, self.heads) for own in self.plan.outputs.values()]
        final = [self.empty(own, self.batch, self.heads) for own in self.plan.states.values()]
        saved: list[Tensor] = []
        if keep:
            chunks = -(-self.steps // self.chunk)
            count = chunks * self.batch * self.heads * self.kernel.kept_size(*self.call)
            saved = [memory.empty((count,), self.dtype)]
            self.places = places_of(inputs, 2)
        self.kernel.forward(
            *self.call, addresses(inputs), *lead_strides(inputs), addresses(parameters), addresses(initial),
            addresses(final), addresses(outputs), address(saved[0] if keep else None),
        )  # fmt: skip
        return outputs, final, saved

    def backward(
        self,
        inputs: Sequence[Tensor],
        parameters: Sequence[Tensor],
        saved: Sequence[Tensor],
        by_outputs: Sequence[Maybe],
        by_final: Sequence[Maybe],
        need: Sequence[bool],
    ) -> tuple[Sequence[Maybe], Sequence[Maybe], Sequence[Tensor]]:
        by_inputs = gradients_at(self.places, 2, need[: len(inputs)], self.dtype)
        by_initial = [self.empty(own, self.batch, self.heads) for own in self.plan.states.values()]
        shapes = [self.shape(own, self.heads) for own in self.plan.parameters.values()]
        places = np.cumsum([0, *map(math.prod, shapes)])
        sums = torch.from_numpy(np.zeros((self.threads, int(places[-1])), NUMPY[self.dtype]))
        wanted = need[len(inputs) :]
        grad_p = [
            sums.data_ptr() + int(place) * self.dtype.itemsize if want else 0
            for place, want in zip(places, wanted, strict=False)
        ]
        self.kernel.backward(
            *self.call, addresses(inputs), *lead_strides(inputs), addresses(parameters), address(saved[0]),
            addresses(by_outputs), addresses(by_final), addresses(by_inputs), *lead_strides(by_inputs), grad_p,
            int(places[-1]), addresses(by_initial), addresses(self.squares),
        )  # fmt: skip
        total = torch.from_numpy(sums.numpy().sum(0)) if self.threads > 1 else sums[0]
        by_parameters = [
            total[place : place + math.prod(shape)].view(shape) if want else None
            for place, shape, want in zip(places.tolist(), shapes, wanted, strict=False)
        ]
        return by_inputs, by_parameters, by_initial


def lead_strides(tensors: Sequence[Maybe]) -> tuple[list[int], ...]:
    """Of every tensor, the numbers from one step, one example and one head to the next."""
    return tuple([0 if tensor is None else tensor.stride(axis) for tensor in tensors] for axis in range(3))
