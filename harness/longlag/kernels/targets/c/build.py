"""From C source to a loaded library, through a cache that any number of processes share.

The cache folder is ``$XDG_CACHE_HOME/longlag`` (``~/.cache/longlag``); a file's name is the hash of all that decides
its content: source, compiler, flags, processor. A library appears by renaming a finished file, so nobody ever sees
half of one; of many processes that want the same one, the first builds and the others wait for it. A library is only
loaded from a folder that belongs to this user and that nobody else can write to; where there is no such folder a
private temporary one serves.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Nothing of -ffast-math: it would lose NaN and infinity, and linking with it makes GCC before 13 set flush-to-zero
# for the whole process on load. -fopenmp-simd vectorises the loops that say so, sums included. -O2 with the vectoriser
# of -O3 makes as fast a loop as -O3 and builds it in two thirds of the time.
COMPILE_FLAGS = (
    "-std=gnu11", "-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-march=native", "-fPIC",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd",
)  # fmt: skip
# Partial redundancy elimination turns max(a, c ? a : b) into branches, and the loop of sLSTM stays without vectors.
GCC_FLAGS = ("-fno-tree-pre",)
# Compilers use half of a 512-bit register on their own. All of it saves 1 to 11 % of a step on Intel, nothing on Zen 4.
X86_FLAGS = ("-mprefer-vector-width=512",)
LINK_FLAGS = ("-shared", "-pthread", "-lm")
TIMEOUT_SECONDS = 120
WAIT_SECONDS = 120
"""For another builder of the same library, before it is built here as well."""


class BuildError(Exception):
    """The compiler refused; the message holds what it said."""


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
    gcc = () if cc is None or "clang" in cc.version else GCC_FLAGS
    x86 = X86_FLAGS if platform.machine() in ("x86_64", "AMD64") else ()
    return (*COMPILE_FLAGS, *gcc, *x86, *LINK_FLAGS)


@cache
def processor() -> str:
    """What ``-march=native`` depends on: a library built for one processor may crash on another."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    wanted = ("model name", "flags", "Features", "CPU part")
    found: dict[str, str] = {}
    for line in text.splitlines():
        key = line.partition(":")[0].strip()
        if key in wanted:
            found.setdefault(key, line.partition(":")[2].strip())
    return f"{platform.machine()} {sorted(found.items())}"


def private(folder: Path) -> bool:
    """Whether `folder` is a directory of this user that nobody else can write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def cache_folder() -> Path:
    """Where built libraries are kept; created when needed."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = (Path(base) if base else Path("~/.cache").expanduser()) / "longlag"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if private(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return temporary_folder()


@cache
def temporary_folder() -> Path:
    """A folder of this process alone, removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="longlag-"))
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def trusted(path: Path) -> bool:
    """Whether `path` is a file that only this user could have written."""
    try:
        status = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return ours and private(path.parent)


def library_path(source: str) -> Path:
    """Where the library of `source` lies, built or not."""
    cc = compiler()
    content = "\0".join((source, str(cc), *flags(), processor()))
    return cache_folder() / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.so"


def compile_to(source: str, path: Path) -> None:
    """Build `source` and move the finished library to `path`.

    Raises:
        BuildError: when the compiler fails.
    """
    cc = compiler()
    if cc is None:
        raise BuildError("there is no C compiler on this machine")
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as name:
        folder = Path(name)
        (folder / "cell.c").write_text(source)
        command = [cc.path, "cell.c", "-o", "cell.so", *flags()]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{' '.join(command)}: {error}") from error
        if done.returncode:
            raise BuildError(f"{' '.join(command)} failed:\n{done.stderr[:2000]}")
        (folder / "cell.so").chmod(0o700)
        (folder / "cell.so").replace(path)
        (folder / "cell.c").replace(path.with_suffix(".c"))  # for people who want to read it


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold the right to build `path`, as soon as no other process or thread does.

    It saves work and no more: builds of the same library at once do each other no harm, so that where the lock cannot
    be had (a file system without locks, a builder that was stopped) we go on without it.
    """
    name = path.with_suffix(".lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        name.unlink(missing_ok=True)  # while it is held: who waits for it looks for the library next
        os.close(lock)


def loaded(path: Path) -> ctypes.CDLL | None:
    """The library at `path` if it is there, ours and whole."""
    if not trusted(path):
        return None
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def load(source: str) -> ctypes.CDLL:
    """The library of `source`, from the cache or built now.

    Raises:
        BuildError: when it cannot be built or loaded.
    """
    path = library_path(source)
    library = loaded(path)
    if library is not None:
        return library
    with turn(path):
        library = loaded(path)  # another process may have built it meanwhile
        if library is not None:
            return library
        compile_to(source, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"{path} was built but does not load: {error}") from error
