"""Changes to a spec that was right, and the spec as YAML."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from longlag import registry
from tests.fuzz.odd import LONG, NUMBERS, SYNTAX, VALUES, Raw

Places = list[tuple[Any, Any]]
"""Every container of a spec, with the key or index of something in it."""


def mutated(rng: random.Random, tree: Any) -> Any:
    """The tree with one to three changes."""
    tree = _copied(tree)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = list(_places(tree))
        here, key = rng.choice(places)
        rng.choices(list(MUTATIONS), list(MUTATIONS.values()))[0](rng, here, key, places)
    return tree


def emit(value: Any) -> str:
    """The tree as YAML in one line."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{emit(key)}: {emit(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(emit(inner) for inner in value) + "]"
    return json.dumps(value)


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(inner)


def _replace(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    here[key] = rng.choice(rng.choices([SYNTAX, VALUES], [1, 4])[0])


def _change(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    """Another value of the same kind, or nearly."""
    old = here[key]
    near: list[Any] = [str(old), [old], None, {"name": old}]
    if isinstance(old, bool):
        near += [not old, int(old), "yes"]
    elif isinstance(old, int | float):
        near += [*NUMBERS, -old, old + 1, old * 1000, old / 3]
    elif isinstance(old, str):
        near += [*_names(), f"{old}x", old.upper(), "", "arm", "seed", "model.depth", "task.length"]
    elif isinstance(old, list):
        near += [[], old * 2, old[::-1], old[:1], [*old, 7], dict.fromkeys(map(str, old), 1)]
    elif isinstance(old, dict):
        near += [{}, [*old], [*old.values()], dict.fromkeys(old), dict(reversed(old.items()))]
    here[key] = _copied(rng.choice(near))


@cache
def _names() -> list[str]:
    """Of all components."""
    return [name for kind in registry.KINDS for name in registry.names(kind)]


def _delete(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    del here[key]


def _rename(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    if isinstance(here, dict):
        other = rng.choice([f"{key}x", LONG, "", "seed", "name", "a.b", "[/red]", "../x", Raw("7"), Raw("~")])
        here[other] = here.pop(key)


def _add(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    value = rng.choice(VALUES)
    if isinstance(here, dict):
        name = rng.choice(["odd", "seed", "name", "path", "when", "low", "model.depth", "task.length", "arm", LONG])
        here[name] = value
    else:
        here.insert(key, value)


def _nest(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    inner = here[key]
    for _ in range(rng.choice([1, 1, 2, 60])):
        inner = [inner] if rng.random() < 0.5 else {"a": inner}
    here[key] = inner


def _swap(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    other, place = rng.choice(places)
    here[key] = _copied(other[place])


def _repeat(rng: random.Random, here: Any, key: Any, places: Places) -> None:
    """An element of a list many times, or a name twice."""
    inner = here[key]
    if isinstance(inner, list) and inner:
        here[key] = [rng.choice(inner) for _ in range(rng.choice([2, 5, 300]))]
    elif isinstance(here, dict) and rng.random() < 0.2:
        here[Raw(f"{emit(key)}: 1, {emit(key)}")] = here.pop(key)


MUTATIONS: dict[Callable[[random.Random, Any, Any, Places], None], int] = {
    _change: 8, _replace: 6, _delete: 2, _rename: 2, _add: 2, _nest: 1, _swap: 3, _repeat: 2,
}  # fmt: skip
"""With how often each is made."""
