"""Discovery of components. Built-ins register as third parties do: by an entry point in their package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from traceback import walk_tb
from typing import Any, Literal, get_args

from longlag.errors import UserError, one_line, quoted, suggestion

Kind = Literal["task", "cell", "optimizer", "probe", "sampler", "objective", "target", "executor"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OURS = ("longlag", "longlag_tasks")
NETWORK_PROBES = ("total", "lag", "update_ratio")
"""Probes of the whole network, which the training loop measures itself: no registered probe has one of these names."""
GROUPS: dict[Kind, str] = {kind: f"longlag.{kind}s" for kind in KINDS}


@cache
def _points(kind: Kind) -> dict[str, list[EntryPoint]]:
    """By name; more than one where packages collide, which is the business of whoever asks for that name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUPS[kind]):
        same = found.setdefault(point.name, [])
        if all(other.value != point.value for other in same):
            same.append(point)
    return dict(sorted(found.items()))


def names(kind: Kind) -> list[str]:
    """The names of every installed component of a kind, sorted. Imports none of them."""
    return list(_points(kind))


def origin(kind: Kind, name: str) -> str:
    """The distribution that brought a component, with its version."""
    return ", ".join(_label(point.dist) for point in _points(kind)[name])


@cache
def _label(distribution: Distribution | None) -> str:
    """Its name and version. Kept, as a distribution's metadata are parsed at every access."""
    return f"{distribution.name} {distribution.version}" if distribution else "unknown"


def raised_by(error: BaseException) -> str | None:
    """The component of a third party whose code an error came from, such as ``cell 'leaky' (leaky:Leaky)``.

    Returns:
        None when the error passed through nobody else's code.
    """
    best, named = 0, None
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        function = f"{module}:{frame.f_code.co_qualname}"
        for kind in KINDS:
            for name, points in _points(kind).items():
                for point in points:
                    if _package(point.module) != _package(module) or _package(module) in OURS:
                        continue
                    near = 3 if function.startswith(f"{point.value}.") else 2 if point.module == module else 1
                    if near > best:
                        best, named = near, f"{kind} {name!r} ({point.value})"
    return named


def _package(module: str) -> str:
    return module.partition(".")[0]


def load(kind: Kind, name: str) -> Any:
    """The class registered under `name`.

    Raises:
        UserError: when there is none, naming the nearest, when two packages bring one, when a probe has a name of
            longlag's own, or when it cannot be imported.
    """
    points = _points(kind)
    if name not in points:
        raise UserError(
            f"there is no {kind} named {quoted(name)}{suggestion(name, list(points))} (`longlag list {kind}s`)"
        )
    point, *others = points[name]
    if others:
        values = " and ".join(other.value for other in points[name])
        raise UserError(
            f"two packages register a {kind} named {name!r} ({values}); uninstall one of them or rename its entry point"
        )
    if kind == "probe" and name in NETWORK_PROBES:
        raise UserError(
            f"the probe {name!r} ({point.value}) has the name of one of longlag's own "
            f"({', '.join(NETWORK_PROBES)}); give its entry point another name"
        )
    try:
        with redirect_stdout(sys.stderr):  # standard output may be JSON
            return point.load()
    except (Exception, SystemExit) as error:  # a plug-in's module may fail in any way
        raise UserError(f"{kind} {name!r} ({point.value}) cannot be imported: {one_line(error)}") from error
