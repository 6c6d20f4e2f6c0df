"""What happens to files: every kind that longlag reads back is tried with each of these."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[bytes], bytes]


class Bomb:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("import os; os.environ['LONGLAG_BOMB'] = 'went off'",)


def _flipped(data: bytes) -> bytes:
    place = len(data) * 2 // 3
    return data[:place] + bytes([data[place] ^ 2]) + data[place + 1 :]


DAMAGES: dict[str, Damage] = {
    "cut off": lambda data: data[: len(data) // 2],
    "a flipped bit": _flipped,
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),  # as some file systems leave it after a power cut
    "foreign": lambda data: b"This is another file.\n",
    "deep": lambda data: b"[" * 100_000,
    "pickle": lambda data: pickle.dumps(Bomb()),
}


def damage(path: Path, name: str) -> bytes:
    """Put a damaged file in the place of another one; who has that open or loaded keeps it. Returns its content."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(DAMAGES[name](before))
    path.chmod(mode)
    return before
