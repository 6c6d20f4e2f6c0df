"""What takes seconds to make of a study is kept beside its pictures, and made again when what it shows has changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from longlag import files
from longlag.log import log

NAME = ".made.json"


class ReportCache:
    """Values by name, each with a digest of what it was made from.

    Args:
        folder: of the study's pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._entries: dict[str, Any] = {}
        try:
            self._entries, _ = files.unsealed(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, files.Damaged) as error:
            log.warning("what was kept in %s is made again: %s", self._path, error, exc_info=True)

    def get(self, name: str, made_from: str) -> Any:
        """The value that was made from the same; None where there is none."""
        entry = self._entries.get(name)
        return entry["value"] if isinstance(entry, Mapping) and entry.get("made_from") == made_from else None

    def put(self, name: str, made_from: str, value: Any) -> None:
        """Keep a JSON value.

        Raises:
            OSError: when it cannot be written.
        """
        self._entries[name] = {"made_from": made_from, "value": value}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self._path, json.dumps(files.sealed(self._entries), indent=1).encode())


def digest(*parts: Any) -> str:
    """Of JSON values, which may hold arrays and infinities, and of this version of longlag."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return [str(value.dtype), list(value.shape), files.digest(np.ascontiguousarray(value).tobytes())]
        raise TypeError(f"no digest of a {type(value).__name__}")

    return files.digest(json.dumps([version("longlag"), *parts], sort_keys=True, default=plain).encode())
