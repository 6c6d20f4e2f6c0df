"""The C compiler of this machine, the flags that it accepts, and the processor that it builds for."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from longlag import files
from longlag.kernels.targets.c.cache import cache_folder, trusted
from longlag.log import log

NATIVE = ("-march=native", "-mcpu=native")
"""Both mean this machine's processor; on ARM some compilers know only the second."""
if platform.machine() in ("arm64", "aarch64"):
    NATIVE = NATIVE[::-1]

# Nothing of -ffast-math: it would lose NaN and infinity, and linking with it makes GCC before 13 set flush-to-zero
# for the whole process on load. -fopenmp-simd vectorises the loops that say so, sums included. -O2 with the vectoriser
# of -O3 makes as fast a loop as -O3 and builds it in two thirds of the time. Partial redundancy elimination (tree-pre)
# turns max(a, c ? a : b) into branches, and the loop of sLSTM stays without vectors. Compilers use half of a 512-bit
# register on their own: all of it saves 1 to 11 % of a step on Intel, nothing on Zen 4. Tuned for Zen, GCC does without
# fused multiply-adds in some loops and not in others (avoid-fma-max-bits): a row of a product would then depend on how
# many rows there are.
FLAGS: tuple[tuple[str, ...], ...] = (
    ("-std=gnu11",), ("-O2",), ("-ftree-vectorize",), ("-fvect-cost-model=dynamic",), NATIVE, ("-fPIC",),
    ("-fno-math-errno",), ("-fno-trapping-math",), ("-ffp-contract=fast",), ("-fopenmp-simd",), ("-fno-tree-pre",),
    ("-mprefer-vector-width=512",), ("--param=avoid-fma-max-bits=0",),
)  # fmt: skip
"""What a cell is compiled with where the compiler accepts it; of several spellings the first that it accepts."""
LINK_FLAGS = ("-shared", "-pthread", "-lm")
PROBE = "#include <math.h>\ndouble probe(double x) { return sqrt(x) + 1; }\n"
PROBE_SECONDS = 60
CPUINFO = Path("/proc/cpuinfo")
CPUINFO_KEYS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",  # x86
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",  # ARM
    "cpu", "isa", "uarch", "features",  # POWER, RISC-V, Z
)  # fmt: skip
SYSCTL_NAMES = ("machdep.cpu", "hw.optional", "hw.cpufamily", "hw.cpusubfamily")
"""Of macOS: the model, and every extension of the instruction set."""


@dataclass(frozen=True)
class Compiler:
    """The system's C compiler.

    Args:
        path: of the executable.
        version: the first line it prints about itself.
    """

    path: str
    version: str


@cache
def compiler() -> Compiler | None:
    """``$CC``, else ``cc``, ``gcc`` or ``clang``: the first that says its version; None when there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        try:
            answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return Compiler(path, (answer.stdout.splitlines() or ["unknown version"])[0])
    return None


def flags() -> tuple[str, ...]:
    """What a cell is compiled and linked with."""
    cc = compiler()
    return LINK_FLAGS if cc is None else (*accepted_flags(cc, cache_folder()), *LINK_FLAGS)


@cache
def accepted_flags(cc: Compiler, folder: Path) -> tuple[str, ...]:
    """Those of `FLAGS` that `cc` accepts, from `folder` or asked for now and kept there."""
    content = "\0".join((str(cc), str(FLAGS), PROBE, processor()))
    path = folder / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.flags"
    if trusted(path):
        try:
            return tuple(files.read_with_checksum(path).decode().split())
        except FileNotFoundError:
            pass  # it was not written to its end
        except (OSError, files.Damaged) as error:
            log.warning("the compiler's flags in %s are found again: %s", path, error)
    found = probe_flags(cc)
    if found:
        files.write_with_checksum(path, " ".join(found).encode(), 0o600)
    return found


def probe_flags(cc: Compiler) -> tuple[str, ...]:
    """Ask `cc` for all of `FLAGS` at once, and only if it refuses, one by one."""
    first = tuple(spellings[0] for spellings in FLAGS)
    if accepts(cc, first):
        return first
    found = (next((flag for flag in spellings if accepts(cc, (flag,))), None) for spellings in FLAGS)
    return tuple(flag for flag in found if flag is not None)


def accepts(cc: Compiler, flags: Sequence[str]) -> bool:
    """Whether `cc` compiles with these flags and says nothing against them."""
    with tempfile.TemporaryDirectory(prefix="longlag-") as name:
        (Path(name) / "probe.c").write_text(PROBE)
        command = [cc.path, "-Werror", *flags, "-c", "probe.c", "-o", "probe.o"]
        try:
            done = subprocess.run(command, cwd=name, capture_output=True, timeout=PROBE_SECONDS)
        except (OSError, subprocess.SubprocessError):
            return False
    return done.returncode == 0


@cache
def processor() -> str:
    """What the flags for this machine's processor depend on: a library built for one processor may crash on another.

    A cache may be in a home that machines of several kinds share, so this is part of a library's name.
    """
    found = from_cpuinfo() or from_sysctl() or from_compiler() or platform.processor()
    return f"{platform.machine()} {found}"


def from_cpuinfo() -> str:
    """The kind and the features of all cores, as Linux lists them; empty where there is no such list."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        return ""
    lines = {line for line in text.splitlines() if line.partition(":")[0].strip() in CPUINFO_KEYS}
    return "\n".join(sorted(" ".join(line.split()) for line in lines))


def from_sysctl() -> str:
    """The same of macOS."""
    if sys.platform != "darwin":
        return ""
    return output_of("/usr/sbin/sysctl", *SYSCTL_NAMES)


def from_compiler() -> str:
    """The macros that a compiler defines for this machine's processor, where the system does not describe it."""
    cc = compiler()
    if cc is None:
        return ""
    return next(filter(None, (output_of(cc.path, flag, "-dM", "-E", "-x", "c", os.devnull) for flag in NATIVE)), "")


def output_of(*command: str) -> str:
    """What a command prints, sorted by lines; empty if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "\n".join(sorted(done.stdout.splitlines())) if done.returncode == 0 else ""
