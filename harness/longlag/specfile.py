"""Reading specs: safe YAML, dotted overrides, and the sentences for what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from longlag.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 100


class _Loader(yaml.SafeLoader):
    """Safe YAML in which ``1e-3`` is a number, as YAML 1.2 has it, keys are unique and nesting has a limit."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UserError(f"nested too deeply: more than {MAX_DEPTH} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the base class refuses it
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _expanded_size(node: yaml.Node, known: dict[int, int], path: frozenset[int]) -> int:
    """Nodes after all aliases are expanded, counted without expanding them."""
    if id(node) in path:
        raise UserError("an alias refers to itself")
    if id(node) not in known:
        inner = path | {id(node)}
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        known[id(node)] = 1 + sum(_expanded_size(child, known, inner) for child in children)
    return known[id(node)]


def parse(text: str, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        UserError: naming `where` and the line, for text that is not YAML or is made to explode.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded_size(node, {}, frozenset()) > MAX_NODES:
            raise UserError(f"more than {MAX_NODES:,} values after its aliases are expanded")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{where}{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: when it cannot be read, is not YAML, or holds something else than a mapping.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a YAML file")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES:,} bytes: that is no spec")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})") from error
    value = parse(text, str(path))
    if not isinstance(value, dict):
        raise UserError(
            f"{path} should hold a mapping of fields, as `longlag schema` describes; it holds {_kind(value)}"
        )
    return value


def _kind(value: object) -> str:
    return {type(None): "nothing", list: "a list", str: "a piece of text"}.get(type(value), f"a {type(value).__name__}")


def override(data: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """`data` with every ``path.to.field=value`` applied; values are YAML.

    Raises:
        UserError: for a setting that is not of that form or that goes through something that is not a mapping.
    """
    result = dict(data)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path or not all(path.split(".")):
            raise UserError(f"--set {setting!r}: should be path.to.field=value, such as task.length=500")
        assign(result, path, parse(text, f"--set {path}"))
    return result


def assign(data: dict[str, Any], path: str, value: Any) -> None:
    """Set the field at a dotted path, copying the mappings on the way; ``a.name`` of ``a: word`` is that word."""
    *parents, last = path.split(".")
    here = data
    for depth, key in enumerate(parents):
        inner = here.get(key)
        if isinstance(inner, str):
            inner = {"name": inner}
        if inner is not None and not isinstance(inner, dict):
            raise UserError(f"{'.'.join(parents[: depth + 1])} is {_kind(inner)}, so {path} cannot be set")
        here[key] = dict(inner or {})
        here = here[key]
    here[last] = value


def merge(data: dict[str, Any], path: str, value: Any) -> None:
    """As `assign`, but a mapping sets the fields it names and leaves the others.

    A mapping with a ``name`` replaces: each choice has fields of its own.
    """
    if not isinstance(value, Mapping) or "name" in value:
        assign(data, path, value)
        return
    for key, inner in value.items():
        merge(data, f"{path}.{key}", inner)
