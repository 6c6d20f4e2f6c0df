"""Studies that come with longlag, and finding the one that a name or a file means."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

PAPERS = "papers"  # paper studies are no sweeps: `longlag reproduce`


def names() -> list[str]:
    """The built-in studies; ``folder/...`` for those in a folder."""
    return sorted(_walk(files("longlag").joinpath("sweeps"), ""))


def _walk(folder: Traversable, prefix: str) -> list[str]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith(("_", ".")) and entry.name != PAPERS:
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            found.append(prefix + entry.name.removesuffix(".yaml"))
    return found


def text(name: str) -> str:
    """The YAML of a built-in study."""
    return files("longlag").joinpath("sweeps").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
