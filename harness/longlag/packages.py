"""Optional packages: named by what needs them, and looked for without an import."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longlag.errors import UserError


class MissingPackage(UserError):
    """A package that is needed is not installed."""


@dataclass(frozen=True)
class Package:
    """A package that an installation may lack.

    Args:
        module: its top-level module, as it is imported.
        install: what pip is given to install it, such as ``longlag[speech]``.
        purpose: what it is for, as the subject of a sentence: ``the cmaes sampler``.
    """

    module: str
    install: str
    purpose: str

    @property
    def installed(self) -> bool:
        """Whether it can be found. It is not imported."""
        try:
            return find_spec(self.module) is not None
        except (ImportError, ValueError):  # ValueError: a module that somebody put together by hand
            return False

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install '{self.install}'"

    def require(self) -> None:
        """Refuse to go on without it.

        Raises:
            MissingPackage: where it is not installed, with the command that installs it.
        """
        if not self.installed:
            raise MissingPackage(f"{self.purpose} needs the package {self.module}: {self.command}")

    def load(self) -> Any:
        """The module itself.

        Raises:
            MissingPackage: where it is not installed.
        """
        self.require()
        return import_module(self.module)

    def folder(self) -> Path:
        """Where its files are. It is not imported.

        Raises:
            MissingPackage: where it is not installed.
        """
        self.require()
        found = find_spec(self.module)
        return Path(found.submodule_search_locations[0] if found and found.submodule_search_locations else "")


# Those of no component that could name them itself.
DASHBOARD = Package("optuna_dashboard", "longlag[dashboard]", "the dashboard")
DISTRIBUTED = Package("distributed", "longlag[cluster]", "the dask executor")
PSYCOPG = Package("psycopg", "longlag[postgresql]", "a study in PostgreSQL")
