"""Discovery of tasks and cells. Built-ins register as third parties do: by an entry point in their package."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

Kind = Literal["task", "cell"]
GROUPS: dict[Kind, str] = {"task": "longlag.tasks", "cell": "longlag.cells"}


class UserError(Exception):
    """A mistake of the person at the keyboard: one clear sentence, shown without a traceback, exit code 2."""


def suggestion(word: str, known: list[str]) -> str:
    """``; did you mean 'lstm'?`` when `word` is a near miss of one of `known`, else nothing."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.55)
    return f"; did you mean {near[0]!r}?" if near else ""


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
    """The names of every installed task or cell, sorted. Imports none of them."""
    return list(_points(kind))


def origin(kind: Kind, name: str) -> str:
    """The distribution that brought a task or cell, with its version."""
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


def explain(error: Any, where: str, model: Any = None) -> str:
    """One sentence for a pydantic ``ValidationError``: the field, what was wrong, what would be right."""
    problems = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = list(getattr(model, "model_fields", {}))
            field = str(item["loc"][-1])
            hint = suggestion(field, known) or (f"; it has {', '.join(known)}" if known else "; it has no options")
            problems.append(f"no field {path!r}{hint}")
        else:
            problems.append(f"{path + ': ' if path else ''}{item['msg'].removeprefix('Value error, ')}")
    return f"{where}: " + "; ".join(problems)
