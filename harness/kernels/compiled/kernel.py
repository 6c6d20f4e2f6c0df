"""A cell's compiled kernel: traced, printed, built and loaded once for a cell and dtype."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from harness.kernels.compiled import blas, build
from harness.kernels.compiled.plan import Plan, make_plan
from harness.kernels.compiled.source import source
from harness.kernels.compiled.trace import Untraceable
from harness.kernels.recurrence import Recurrence

REAL = {torch.float32: "float", torch.float64: "double"}


def call_type(plan: Plan) -> type[ctypes.Structure]:
    """The C struct ``Call`` of `template.py` for this cell."""
    pointer, integer = ctypes.c_void_p, ctypes.c_long
    states, products, units = len(plan.states), max(1, plan.products), max(1, len(plan.units))
    fields: list[tuple[str, Any]] = [
        *((name, integer) for name in ("T", "B", "H", "I", "threads", "grad_stride")),
        *((name, pointer) for name in ("gemm", "limit_threads", "free_buffers")),
        *((name, pointer) for name in ("x", "weight_ih", "bias", "bias_hh")),
        ("weight_hh", pointer * products),
        ("unit", pointer * units),
        ("state", pointer * states),
        ("stride", integer * states),
        ("saved", pointer),
        ("mask", pointer),
        ("grad_output", pointer * states),
        ("grad_state", pointer * states),
        ("squares", pointer * states),
        ("grad_x", pointer),
        *((name, pointer) for name in ("grad_weight_ih", "grad_bias", "grad_bias_hh")),
        ("grad_weight_hh", pointer * products),
        ("grad_unit", pointer * units),
    ]
    return type("Call", (ctypes.Structure,), {"_fields_": fields})


@dataclass(frozen=True)
class Kernel:
    """The loaded library of one cell and dtype."""

    plan: Plan
    dtype: torch.dtype
    library: ctypes.CDLL = field(repr=False)
    struct: type[ctypes.Structure] = field(repr=False)
    blas: blas.Blas

    def call(self, **values: int | Tensor | Sequence[Tensor | int | None] | None) -> ctypes.Structure:
        """A filled ``Call``: tensors are passed by address, None as null. The caller keeps the tensors alive."""
        call = self.struct(
            gemm=self.blas.gemm[REAL[self.dtype]],
            limit_threads=self.blas.limit_threads,
            free_buffers=self.blas.free_buffers,
        )
        for name, value in values.items():
            if isinstance(value, Tensor):
                setattr(call, name, value.data_ptr())
            elif isinstance(value, list | tuple):
                array = getattr(call, name)
                array[: len(value)] = [item.data_ptr() if isinstance(item, Tensor) else item for item in value]
            elif value is not None:  # the struct starts as zeros
                setattr(call, name, value)
        return call

    def run(self, function: str, call: ctypes.Structure) -> None:
        """Run ``forward`` or ``backward``; the interpreter lock is released meanwhile."""
        if getattr(self.library, f"longlag_{function}")(ctypes.addressof(call)):
            raise MemoryError("the compiled loop could not allocate its work space")


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
    plan = plan_of(cell)
    if isinstance(plan, str):
        return plan
    text = source(plan, REAL[dtype])
    try:
        if text not in _libraries:
            _libraries[text] = build.load(text)
    except (build.BuildError, OSError) as error:
        return f"cell {plan.name} is not compiled: building it failed ({error})"
    struct = call_type(plan)
    if _libraries[text].longlag_call_size() != ctypes.sizeof(struct):
        return f"cell {plan.name} is not compiled: the C compiler lays out structures differently from ctypes"
    return Kernel(plan, dtype, _libraries[text], struct, found)


def toolchain() -> Mapping[str, str]:
    """What builds and serves the compiled loops: to be tagged on a run."""
    cc, found = build.compiler(), blas.find()
    return {
        "compiler": "none" if cc is None else cc.version,
        "flags": " ".join((*build.COMPILE_FLAGS, *build.LINK_FLAGS)),
        "blas": "none" if found is None else found.name,
    }
