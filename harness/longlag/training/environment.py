"""What a run's numbers also depend on, recorded beside them: versions, threads, kernel, processor, compiler."""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils import deterministic

from longlag import kernels
from longlag.errors import UserError


@cache
def git_commit() -> str:
    """The commit of the checkout the harness runs from (``-dirty`` if files differ), or nothing outside of one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


@cache
def cpu() -> str:
    """The model of the processor and the instructions that torch uses on it: ``Intel(R) Xeon(R) ... (AVX512)``."""
    model = platform.processor()
    with suppress(OSError):  # only Linux has the file
        fields = [line.partition(":") for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()]
        found = {key.strip(): value.strip() for key, _, value in reversed(fields)}
        arm = " ".join(f"{key} {found[key]}" for key in ("CPU implementer", "CPU part") if key in found)
        model = found.get("model name") or arm or model
    return f"{model or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


@cache
def torch_build() -> str:
    """A digest of how torch was built: its compiler, its flags, its BLAS."""
    return hashlib.sha256(torch.__config__.show().encode()).hexdigest()[:12]


def accelerator(device: torch.device) -> str:
    """The model of the device and its driver library; empty for the CPU."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return "" if device.type == "cpu" else device.type


def environment(kernel: str, device: torch.device) -> dict[str, str]:
    """Versions and the like, by name.

    Args:
        kernel: which loops the layers take.
        device: that they run on.
    """
    tools = kernels.tags(device) if "compiled" in kernel else {}
    accelerated = accelerator(device)
    return {
        "longlag": version("longlag"),
        "torch": torch.__version__,
        "torch_build": torch_build(),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpu": cpu(),
        **({"accelerator": accelerated} if accelerated else {}),
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "git_commit": git_commit(),
        "kernel": kernel,
        **tools,
    }


@contextmanager
def numerics() -> Iterator[None]:
    """Deterministic algorithms, and denormal numbers flushed to zero: vanishing gradients would slow a CPU.

    A gradient norm below 1.2e-38 (float32) therefore shows as exactly zero in a curve. With deterministic algorithms
    torch also fills new memory, which is about to be written to anyway: not here, it takes up to a tenth of a step.
    """
    mode = torch.get_deterministic_debug_mode()
    flushed = _flushes_denormals()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports all of torch's compiler
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.set_deterministic_debug_mode(mode)


def _flushes_denormals() -> bool:
    """Whether this thread flushes denormal numbers to zero; torch sets the processor's flag and cannot be asked."""
    return sys.float_info.min / 2 == 0


@contextmanager
def frozen_imports() -> Iterator[None]:
    """Let Python's garbage collector pass over everything that is there already, for a while.

    What torch, MLflow and Optuna bring with their imports is some 700,000 objects, which a full collection takes a
    third of a second to look through; the objects of a few thousand logged points bring one about.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use so many threads, then as many as before."""
    if threads < 1:
        raise UserError(f"threads: at least 1, not {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
