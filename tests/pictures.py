"""Pictures that are written without being drawn: drawing one takes a second."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_PIXEL = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\xff"))
    + _chunk(b"IEND", b"")
)
BLANK = {".png": _PIXEL, ".pdf": b"%PDF-1.4\n%%EOF\n"}


@contextmanager
def undrawn() -> Iterator[None]:
    """Write a blank file in place of every picture, for tests of anything else."""
    from matplotlib.figure import Figure

    def savefig(self: Figure, path: Any, **_: Any) -> None:
        Path(path).write_bytes(BLANK[Path(path).suffix])

    with patch.object(Figure, "savefig", savefig):
        yield
