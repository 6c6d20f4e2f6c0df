"""Discovery of components. Built-ins register as third parties do: by an entry point in their package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from longlag.errors import UserError, suggestion

Kind = Literal["task", "cell", "optimizer", "probe", "sampler", "objective", "target"]
KINDS: tuple[Kind, ...] = get_args(Kind)
GROUPS: dict[Kind, str] = {kind: f"longlag.{kind}s" for kind in KINDS}


@cache
def _points(kind: Kind) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUPS[kind]):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise UserError(
                f"two packages register a {kind} named {point.name!r} ({other.value} and {point.value}); "
                "uninstall one of them or rename its entry point"
            )
        found[point.name] = point
    return dict(sorted(found.items()))


def names(kind: Kind) -> list[str]:
    """The names of every installed component of a kind, sorted. Imports none of them."""
    return list(_points(kind))


def origin(kind: Kind, name: str) -> str:
    """The distribution that brought a component, with its version."""
    distribution = _points(kind)[name].dist
    return f"{distribution.name} {distribution.version}" if distribution else "unknown"


def load(kind: Kind, name: str) -> Any:
    """The class registered under `name`.

    Raises:
        UserError: when there is none, naming the nearest, or when its package cannot be imported.
    """
    points = _points(kind)
    if name not in points:
        raise UserError(f"there is no {kind} named {name!r}{suggestion(name, list(points))} (`longlag list {kind}s`)")
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"{kind} {name!r} ({points[name].value}) cannot be imported: {error}") from error
