"""Which kernel libraries this process loads: one that ends the process leaves nobody to say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_callbacks: list[Callable[[Path], None]] = []


def announce(path: Path) -> None:
    """Say that a library is about to be loaded; a kernel target calls this."""
    for callback in _callbacks:
        callback(path)


@contextmanager
def on_load(callback: Callable[[Path], None]) -> Iterator[None]:
    """Call a function with the path of every library before it is loaded."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)
