"""The loaded library of a plan: printed as C and built once for a plan and dtype."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import torch

from longlag.kernels.compiler.plan import Plan
from longlag.kernels.targets.c import blas, build
from longlag.kernels.targets.c.call import CallLayout, Field
from longlag.kernels.targets.c.source import source
from longlag.kernels.targets.c.supported import REAL
from longlag.kernels.targets.c.tiles import Tiles, tiles
from longlag.kernels.targets.target import CannotBuild

WEIGHTS = ("weight_ih", "bias", "bias_hh", "weight_hh", "unit")
SHARED = ("T", "B", "H", "I", "threads", "x", WEIGHTS, "state", "stride", "lead", "saved", "mask")
FORWARD = (*SHARED, "initial", "final")
BACKWARD = (
    *SHARED, "grad_final", "grad_output", "grad_state", "squares", "grad_x", "grad_stride", "grad_weights",
    tuple(f"grad_{name}" for name in WEIGHTS),
)  # fmt: skip
"""Fields of a ``Call`` in the order in which both directions take them; weights as flat lists."""


def call_layout(plan: Plan, constant: Mapping[str, int] = MappingProxyType({})) -> CallLayout:
    """The C struct ``Call`` of this cell, with the fields that never change."""
    sizes = {"N_STATES": len(plan.states), "N_PRODUCTS": plan.products, "N_UNITS": len(plan.units)}
    return CallLayout(sizes, constant)


class Library:
    """The two functions of a cell's library, and the facts of the plan that every call needs.

    Attributes:
        outputs: numbers of the states that are outputs, in the order of the outputs.
        inner: for every state, whether it is none.
        others: numbers of the states that are none.
        leads: for every state, how many lie side by side with it, itself counted.
        n_saved: values a unit and step that the forward pass saves besides the states.
        item: bytes of a number.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype, library: ctypes.CDLL, found: blas.Blas, small: Tiles) -> None:
        self.dtype, self.blas, self.n_saved = dtype, found, len(plan.saved)
        self.outputs = tuple(plan.states.index(name) for name in plan.outputs)
        self.inner = tuple(name not in plan.outputs for name in plan.states)
        self.others = tuple(k for k, inner in enumerate(self.inner) if inner)
        self.leads = tuple(1 if inner else len(self.outputs) for inner in self.inner)
        self.item = dtype.itemsize
        products = {  # and what limits their threads
            "gemm": found.gemm[REAL[dtype]], "limit_threads": found.limit_threads, "free_buffers": found.free_buffers,
            "multiply": small.multiply, "pack": small.pack, "stream": small.stream, "outer": small.outer,
            "panel": small.panel,
        }  # fmt: skip
        layout = call_layout(plan, products)
        self._pack_forward, self._pack_backward = layout.packer(FORWARD), layout.packer(BACKWARD)
        self._forward, self._backward = library.longlag_forward, library.longlag_backward
        for function in (self._forward, self._backward):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]

    def forward(self, *values: Field) -> None:
        """Run with the fields `FORWARD` of a ``Call``; the interpreter lock is released meanwhile.

        The caller keeps alive what the addresses point to.
        """
        if self._forward(self._pack_forward(*values)):
            raise MemoryError("the compiled loop could not allocate its work space")

    def backward(self, *values: Field) -> None:
        """As `forward`, with the fields `BACKWARD`."""
        if self._backward(self._pack_backward(*values)):
            raise MemoryError("the compiled loop could not allocate its work space")


_libraries: dict[str, ctypes.CDLL] = {}


def build_library(plan: Plan, dtype: torch.dtype) -> Library:
    """Print, build and load.

    Raises:
        CannotBuild: when the compiler or the loader fails.
    """
    found = blas.find()
    assert found is not None, "a plan is refused where there is no BLAS"
    try:
        with ThreadPoolExecutor(1) as beside:  # on a new machine the products are built beside the cell
            products = beside.submit(tiles, REAL[dtype])
            text = source(plan, REAL[dtype])
            if text not in _libraries:
                _libraries[text] = build.load(text)
            library, small = _libraries[text], products.result()
    except (build.BuildError, OSError) as error:
        raise CannotBuild(f"cell {plan.name} is not compiled: building it failed ({error})") from error
    call_size = library.longlag_call_size
    call_size.restype, call_size.argtypes = ctypes.c_long, []
    if call_size() != call_layout(plan).size:
        raise CannotBuild(
            f"cell {plan.name} is not compiled: on this machine addresses and sizes have not eight bytes each"
        )
    return Library(plan, dtype, library, found, small)
