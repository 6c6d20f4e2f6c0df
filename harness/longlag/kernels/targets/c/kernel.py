"""A cell's compiled kernel: traced, printed, built and loaded once for a cell and dtype."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from longlag.kernels.compiler.plan import Plan, make_plan
from longlag.kernels.compiler.trace import Untraceable
from longlag.kernels.recurrence import Recurrence
from longlag.kernels.targets.c import blas, build
from longlag.kernels.targets.c.call import CallLayout
from longlag.kernels.targets.c.source import source
from longlag.kernels.targets.c.supported import REAL
from longlag.kernels.targets.c.tiles import Tiles, tiles


def call_layout(plan: Plan) -> CallLayout:
    """The C struct ``Call`` of this cell."""
    sizes = {"N_STATES": len(plan.states), "N_PRODUCTS": plan.products, "N_UNITS": len(plan.units)}
    return CallLayout(sizes)


class Kernel:
    """The loaded library of one cell and dtype, and what of the plan is asked for at every call.

    Attributes:
        n_weights: tensors of packed `Weights`, absent ones counted.
        outputs: numbers of the states that are outputs, in the order of the outputs.
        inner: for every state, whether it is none.
        others: numbers of the states that are none.
        leads: for every state, how many stand side by side with it, itself counted.
        item: bytes of a number.
        dense: the fields of a ``Call`` for the products and for what limits their threads.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype, library: ctypes.CDLL, found: blas.Blas, small: Tiles) -> None:
        self.plan, self.dtype, self.blas = plan, dtype, found
        self.n_weights = 3 + plan.products + len(plan.units)
        self.outputs = tuple(plan.states.index(name) for name in plan.outputs)
        self.inner = tuple(name not in plan.outputs for name in plan.states)
        self.others = tuple(k for k, inner in enumerate(self.inner) if inner)
        self.leads = tuple(1 if inner else len(self.outputs) for inner in self.inner)
        self.item = dtype.itemsize
        self.dense = {
            "gemm": found.gemm[REAL[dtype]], "limit_threads": found.limit_threads, "free_buffers": found.free_buffers,
            "multiply": small.multiply, "pack": small.pack, "stream": small.stream, "outer": small.outer,
            "panel": small.panel,
        }  # fmt: skip
        self._shapes: dict[tuple[int, int, int], tuple[tuple[int, ...], ...]] = {}
        self._pack = call_layout(plan).pack
        self._forward, self._backward = library.longlag_forward, library.longlag_backward
        for function in (self._forward, self._backward):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]

    def weight_fields(self, prefix: str, flat: Sequence[int]) -> dict[str, int | Sequence[int]]:
        """The fields of a ``Call`` for the weights, or with the prefix ``grad_`` for their gradients."""
        inputs, bias, recurrent_bias, *rest = flat
        products = self.plan.products
        return {
            f"{prefix}weight_ih": inputs,
            f"{prefix}bias": bias,
            f"{prefix}bias_hh": recurrent_bias,
            f"{prefix}weight_hh": rest[:products],
            f"{prefix}unit": rest[products:],
        }

    def forward(self, fields: Mapping[str, int | Sequence[int]]) -> None:
        """Run with these fields of a ``Call``, zeros in all others; the interpreter lock is released meanwhile.

        The caller keeps alive what the addresses point to.
        """
        if self._forward(self._pack(fields)):
            raise MemoryError("the compiled loop could not allocate its work space")

    def backward(self, fields: Mapping[str, int | Sequence[int]]) -> None:
        """As `forward`."""
        if self._backward(self._pack(fields)):
            raise MemoryError("the compiled loop could not allocate its work space")

    def check_shapes(self, sizes: tuple[int, int, int], tensors: Sequence[Tensor | None], first: int = 0) -> None:
        """C trusts its sizes: of the weights, flat, and of the states, those from `first` on, they are checked before.

        Args:
            sizes: batch, inputs, hidden.

        Raises:
            ValueError: naming what has the wrong shape.
        """
        wanted = self._shapes.get(sizes)
        if wanted is None:
            wanted = self._shapes[sizes] = expected_shapes(self.plan, *sizes)
        for k, tensor in enumerate(tensors, first):
            if tensor is not None and tensor.shape != wanted[k]:
                matrices = [f"weight_hh {k + 1}" for k in range(self.plan.products)]
                states = [f"state {name}" for name in self.plan.states]
                name = ("weight_ih", "bias", "bias_hh", *matrices, *self.plan.units, *states)[k]
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {wanted[k]}")


def expected_shapes(plan: Plan, batch: int, inputs: int, hidden: int) -> tuple[tuple[int, ...], ...]:
    """Of the weights, flat, and of the states."""
    in_rows, biases, recurrent = (
        sum(r.count for r in runs) * hidden for runs in (plan.inputs, plan.biases, plan.recurrent_biases)
    )
    matrices = {t.product: (t.count * hidden, t.blocks * hidden) for t in plan.terms}
    return (
        (in_rows, inputs), (biases,), (recurrent,), *(matrices[k] for k in range(plan.products)),
        *[(hidden,) for _ in plan.units], *[(batch, hidden) for _ in plan.states],
    )  # fmt: skip


_plans: weakref.WeakKeyDictionary[Any, Plan | str] = weakref.WeakKeyDictionary()
_kernels: weakref.WeakKeyDictionary[Any, dict[torch.dtype, Kernel | str]] = weakref.WeakKeyDictionary()
_libraries: dict[str, ctypes.CDLL] = {}
_lock = threading.RLock()


def plan_of(cell: Recurrence) -> Plan | str:
    """The cell's plan, or why there is none. Traced once for a cell object."""
    with _lock:
        if cell not in _plans:
            try:
                _plans[cell] = make_plan(cell)
            except (Untraceable, ValueError) as error:
                _plans[cell] = f"cell {type(cell).__name__} is not compiled: {error}"
        return _plans[cell]


def kernel_of(cell: Recurrence, dtype: torch.dtype) -> Kernel | str:
    """The cell's kernel, or one sentence that says why there is none. Made once for a cell object and dtype."""
    made = _kernels.get(cell)
    if made is not None and dtype in made:
        return made[dtype]
    with _lock:
        made = _kernels.setdefault(cell, {})
        if dtype not in made:
            made[dtype] = make_kernel(cell, dtype)
        return made[dtype]


def make_kernel(cell: Recurrence, dtype: torch.dtype) -> Kernel | str:
    if dtype not in REAL:
        return f"the compiled loop runs in float32 and float64, not in {str(dtype).removeprefix('torch.')}"
    found = blas.find()
    if found is None:
        return "the compiled loop needs a BLAS, and neither torch nor scipy exports one"
    if build.compiler() is None:
        return "the compiled loop needs a C compiler (cc, gcc or clang), and this machine has none"
    with ThreadPoolExecutor(1) as beside:  # on a new machine the products are built while the cell is traced
        products = beside.submit(tiles, REAL[dtype])
        plan = plan_of(cell)
        if isinstance(plan, str):
            return plan
        text = source(plan, REAL[dtype])
        try:
            if text not in _libraries:
                _libraries[text] = build.load(text)
            small = products.result()
        except (build.BuildError, OSError) as error:
            return f"cell {plan.name} is not compiled: building it failed ({error})"
    call_size = _libraries[text].longlag_call_size
    call_size.restype, call_size.argtypes = ctypes.c_long, []
    if call_size() != call_layout(plan).size:
        return f"cell {plan.name} is not compiled: on this machine addresses and sizes have not eight bytes each"
    return Kernel(plan, dtype, _libraries[text], found, small)


def toolchain() -> Mapping[str, str]:
    """What builds and serves the compiled loops: to be tagged on a run."""
    cc, found = build.compiler(), blas.find()
    return {
        "compiler": "none" if cc is None else cc.version,
        "flags": " ".join(build.flags()),
        "blas": "none" if found is None else found.name,
    }
