"""Optional packages: imported when a task needs them, and named with their extra where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from longlag.task import DataError


def package(name: str, extra: str) -> Any:
    """The module `name`, which the extra `extra` of longlag brings.

    Raises:
        DataError: where it is not installed, naming the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise
        raise DataError(f"this needs the package {error.name}: pip install 'longlag[{extra}]'") from None
