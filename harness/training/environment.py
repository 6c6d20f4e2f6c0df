"""What a run's numbers also depend on, recorded beside them: versions, threads, kernel, machine kind."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from harness.kernels.compiled import toolchain


@cache
def git_commit() -> str:
    """The commit of the checkout the harness runs from (``-dirty`` if files differ), or nothing outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def environment(kernel: str) -> dict[str, str]:
    """Versions and the like, by name; `kernel` says which loops the layers take."""
    tools = toolchain() if "compiled" in kernel else {}
    return {
        "longlag": version("longlag"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "git_commit": git_commit(),
        "kernel": kernel,
        **tools,
    }
