"""Where the compiled loop gets its matrix product for wide inputs: function pointers of libraries.

torch's x86 wheels export MKL's ``sgemm_`` and ``dgemm_``; macOS has them in Accelerate; anywhere else scipy's
`cython_blas` capsules give the same Fortran interface (32-bit sizes, column-major, everything by pointer).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

ACCELERATE = "/System/Library/Frameworks/Accelerate.framework/Accelerate"


@dataclass(frozen=True)
class Blas:
    """Addresses of the functions; 0 where the library has none.

    Args:
        name: for people.
        gemm: by C type, ``float`` and ``double``.
        limit_threads: ``int f(int n)`` sets the number of BLAS threads of the calling thread, returns the old one.
        free_buffers: ``void f(void)`` frees what BLAS keeps for the calling thread.
    """

    name: str
    gemm: dict[str, int]
    limit_threads: int
    free_buffers: int

    @property
    def threads_are_local(self) -> bool:
        """Whether each thread may hold BLAS to one thread: without that, slices run on one thread only."""
        return self.limit_threads != 0


def address(library: ctypes.CDLL, name: str) -> int:
    """The address of a symbol, 0 when the library does not export it."""
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def from_torch() -> Blas | None:
    """MKL as torch exports it."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        gemm = {"float": address(library, "sgemm_"), "double": address(library, "dgemm_")}
        if all(gemm.values()):
            limit = address(library, "MKL_Set_Num_Threads_Local")
            free = address(library, "mkl_serv_thread_free_buffers")
            return Blas("MKL (torch)" if limit else "BLAS (torch)", gemm, limit, free)
    return None


def from_accelerate() -> Blas | None:
    """The BLAS of macOS, which manages its threads itself: slices run on one thread."""
    if sys.platform != "darwin":
        return None
    try:
        library = ctypes.CDLL(ACCELERATE)
    except OSError:
        return None
    gemm = {"float": address(library, "sgemm_"), "double": address(library, "dgemm_")}
    return Blas("Accelerate", gemm, 0, 0) if all(gemm.values()) else None


def from_scipy() -> Blas | None:
    """The capsules that scipy exports for Cython."""
    try:
        from scipy.linalg import cython_blas
    except ImportError:
        return None
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsules = cython_blas.__pyx_capi__

    def pointer(name: str) -> int:
        return int(api.PyCapsule_GetPointer(capsules[name], api.PyCapsule_GetName(capsules[name])))

    return Blas("BLAS (scipy)", {"float": pointer("sgemm"), "double": pointer("dgemm")}, 0, 0)


@cache
def find() -> Blas | None:
    """The BLAS to use, None when there is none."""
    return from_torch() or from_accelerate() or from_scipy()
