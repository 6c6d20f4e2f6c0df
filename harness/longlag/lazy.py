"""Names of a package that are imported when they are first used.

How a package uses it::

    _HOMES = {"train": "longlag.training.loop"}
    if not TYPE_CHECKING:  # a type checker would take it for a promise that every name exists
        __getattr__ = lazy.names(__name__, _HOMES)

The same names are imported under ``if TYPE_CHECKING``, for type checkers and editors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of a package.

    Args:
        package: its name.
        homes: the module that each of its names is imported from.
    """

    def found(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return found
