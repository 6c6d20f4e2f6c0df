"""The C target: a cell's plan printed as C inside one fixed time loop, built by the system's compiler, on the CPU.

emit.py, source.py             the graph and the plan as C: cell.h
resources.py                   the C that is not printed: elementary.h, timeloop.c, and what these include
call.py, call.h                what a call passes
libraries.h                    functions of other libraries that a call passes
tiles.py, tiles.c, blas.py     the matrix products
cc.py, cache.py, build.py      the compiler, the folder of built libraries, a library in it
kernel.py                      a loaded library
passes.py                      a pass over a batch: addresses and calls
scan_*.py, scan*.h, scanloop.c, vectors.h
                               the same for scans
chain_*.py, chain*.h, chain.c  the same for chains of products and functions of rows
maps.py, maps.c                weights that cells derive from other tensors
attention.py, attention.c, attention_rows.h
                               causal attention
supported.py                   dtypes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from longlag.kernels.compiler.chain_plan import ChainPlan
from longlag.kernels.compiler.plan import Plan
from longlag.kernels.compiler.scan_plan import ScanPlan
from longlag.kernels.targets.c import blas, cc
from longlag.kernels.targets.c.attention import Attention, attention_for
from longlag.kernels.targets.c.build import SUFFIX
from longlag.kernels.targets.c.cache import contents
from longlag.kernels.targets.c.chain_passes import CChainKernel
from longlag.kernels.targets.c.kernel import build_library
from longlag.kernels.targets.c.maps import Maps, maps_for
from longlag.kernels.targets.c.passes import CKernel
from longlag.kernels.targets.c.scan_passes import CScanKernel
from longlag.kernels.targets.c.supported import REAL
from longlag.kernels.targets.target import Cached, Target


def unsupported(dtype: torch.dtype) -> str | None:
    """Why nothing is compiled in that dtype, or at all."""
    if dtype not in REAL:
        return f"compiled kernels run in float32 and float64, not in {str(dtype).removeprefix('torch.')}"
    if cc.compiler() is None:
        return "a compiled kernel needs a C compiler (cc, gcc or clang), and this machine has none"
    return None


class C(Target):
    """C on the CPU, in float32 and float64."""

    name: ClassVar[str] = "c"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def refusal(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> str | None:
        if dtype in REAL and blas.find() is None:
            return "a compiled kernel needs a BLAS, and neither torch nor scipy exports one"
        return unsupported(dtype)

    def build(self, plan: Plan, dtype: torch.dtype, device: torch.device) -> CKernel:
        return CKernel(plan, dtype, build_library(plan, dtype))

    def scan_refusal(self, plan: ScanPlan, dtype: torch.dtype, device: torch.device) -> str | None:
        return unsupported(dtype)

    def build_scan(self, plan: ScanPlan, dtype: torch.dtype, device: torch.device) -> CScanKernel:
        return CScanKernel(plan, dtype)

    def chain_refusal(self, plan: ChainPlan, dtype: torch.dtype, device: torch.device) -> str | None:
        return unsupported(dtype)

    def build_chain(self, plan: ChainPlan, dtype: torch.dtype, device: torch.device) -> CChainKernel:
        return CChainKernel(plan, dtype)

    def tags(self, device: torch.device) -> Mapping[str, str]:
        """The compiler, its flags, and the BLAS of wide products."""
        compiler, found = cc.compiler(), blas.find()
        return {
            "compiler": "none" if compiler is None else compiler.version,
            "flags": " ".join(cc.flags()),
            "blas": "none" if found is None else found.name,
        }

    def cached(self) -> Cached:
        return contents((SUFFIX, ".flags"))

    def maps(self, dtype: torch.dtype, device: torch.device) -> Maps | None:
        return maps_for(dtype)

    def attention(self, dtype: torch.dtype, device: torch.device) -> Attention | None:
        return attention_for(dtype)
