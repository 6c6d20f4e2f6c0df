"""From C source to a loaded library, through a cache that any number of processes share.

A library's name in the cache is the hash of all that decides its content: source, compiler, flags, processor. Of many
processes that want the same library, the first builds it and the others wait. A library is loaded only while its
checksum, which is beside it, is right: loading a damaged one can end the process.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from longlag import files
from longlag.kernels import loads
from longlag.kernels.targets.c import cc
from longlag.kernels.targets.c.cache import build_lock, cache_folder, trusted
from longlag.log import log

SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
TIMEOUT_SECONDS = 120


class BuildError(Exception):
    """The compiler refused; the message holds what it said."""


def library_path(source: str) -> Path:
    """The path of the library of `source`, built or not."""
    content = "\0".join((source, str(cc.compiler()), *cc.flags(), cc.processor()))
    return cache_folder() / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}{SUFFIX}"


def compile_to(source: str, path: Path) -> None:
    """Build `source` and move the finished library to `path`.

    Raises:
        BuildError: when the compiler fails.
    """
    compiler = cc.compiler()
    if compiler is None:
        raise BuildError("there is no C compiler on this machine")
    with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as name:
        folder = Path(name)
        (folder / "cell.c").write_text(source)
        library = folder / f"cell{SUFFIX}"
        command = [compiler.path, "cell.c", "-o", library.name, *cc.flags()]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{' '.join(command)}: {error}") from error
        if done.returncode:
            raise BuildError(f"{' '.join(command)} failed:\n{done.stderr[:2000]}")
        files.write_with_checksum(path, library.read_bytes(), 0o700)
        (folder / "cell.c").replace(path.with_suffix(".c"))  # for people who want to read it


def loaded(path: Path) -> ctypes.CDLL | None:
    """The library at `path` if it is there and ours, and was built to its end.

    Raises:
        Damaged: when it is not as it was built.
    """
    if not trusted(path):
        return None
    try:
        files.read_with_checksum(path)
        loads.announce(path)
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def load(source: str) -> ctypes.CDLL:
    """The library of `source`, from the cache or built now.

    Raises:
        BuildError: when it cannot be built or loaded.
    """
    path = library_path(source)
    library = None
    with suppress(files.Damaged):  # or just being written: the next look is under the lock
        library = loaded(path)
    if library is not None:
        return library
    with build_lock(path):
        try:
            library = loaded(path)  # another process may have built it meanwhile
        except files.Damaged as error:
            log.warning("kernel library %s is built again: %s", path, error)
        if library is not None:
            return library
        compile_to(source, path)
    try:
        loads.announce(path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"{path} was built but does not load: {error}") from error
