"""Reading specs: safe YAML, dotted overrides, and the sentences for what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from longlag import reading
from longlag.errors import LONGEST, UserError, clipped, quoted, shortened

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 100
TAG = "tag:yaml.org,2002:"
NAMES = (f"{TAG}str", f"{TAG}merge")
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # no database stores them


class _Loader(yaml.SafeLoader):
    """Safe YAML with the numbers and words of YAML 1.2, no other tags, unique keys, and a limit to nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        _shallow(self._depth)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text: str = super().construct_scalar(node)
        if NO_TEXT.search(text):
            raise _wrong(f"{quoted(text)} holds a character that cannot be stored", node)
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the base class refuses it
            if key.tag not in NAMES:
                raise _wrong(f"{quoted(key.value)} is no name; text that looks like a number goes in quotes", key)
            if key.value in seen:
                raise _wrong(f"{quoted(key.value)} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _wrong(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node)
    if text.lower() not in ("true", "false"):
        raise _wrong(f"{quoted(text)} is neither true nor false", node)
    return text.lower() == "true"


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    try:
        value = int(text, 0) if len(text) < LONGEST else 2**64
    except ValueError:
        raise _wrong(f"{quoted(text)} is no whole number", node) from None
    if abs(value) >= 2**64:
        raise _wrong(f"the number {clipped(text)} has more than 64 bits", node)
    return value


def _real(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node)
    try:
        value = float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower()))
    except ValueError:
        raise _wrong(f"{quoted(text)} is no number", node) from None
    if not math.isfinite(value):
        raise _wrong(f"the number {clipped(text)} is not finite", node)
    return value


# What YAML 1.2 knows without tags, but for numbers that begin with 0, which YAML 1.1 reads to the base of 8.
DIGITS = list("-+.0123456789")
SCALARS: list[tuple[str, Callable[[_Loader, Any], Any], str, list[str]]] = [
    ("null", _Loader.construct_yaml_null, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", _boolean, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _whole, r"[-+]?(0|[1-9](_?\d)*|0x(_?[0-9a-fA-F])+|0o(_?[0-7])+|0b(_?[01])+)", DIGITS),
    ("float", _real, r"[-+]?\d(_?\d)*([eE][-+]?\d+)|[-+]?(\d(_?\d)*\.(\d(_?\d)*)?|\.\d(_?\d)*)([eE][-+]?\d+)?"
     r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", DIGITS),
]  # fmt: skip
_Loader.yaml_implicit_resolvers = {"<": yaml.SafeLoader.yaml_implicit_resolvers["<"]}  # which merges mappings
_Loader.yaml_constructors = {
    tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (f"{TAG}str", f"{TAG}seq", f"{TAG}map", None)
}
for _name, _constructor, _pattern, _first in SCALARS:
    _Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _first)
    _Loader.add_constructor(f"{TAG}{_name}", _constructor)


def _expanded_size(node: yaml.Node, known: dict[int, tuple[int, int]], path: frozenset[int]) -> tuple[int, int]:
    """Nodes and levels after all aliases are expanded, counted without expanding them."""
    if id(node) in path:
        raise UserError("an alias refers to itself")
    if id(node) not in known:
        inner = path | {id(node)}
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = list(node.value)
        below = [_expanded_size(child, known, inner) for child in children]
        known[id(node)] = 1 + sum(size for size, _ in below), 1 + max((levels for _, levels in below), default=0)
        _shallow(known[id(node)][1])
    return known[id(node)]


def _shallow(levels: int) -> None:
    if levels > MAX_DEPTH:
        raise UserError(f"nested too deeply: more than {MAX_DEPTH} levels")


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
        if _expanded_size(node, {}, frozenset())[0] > MAX_NODES:
            raise UserError(f"more than {MAX_NODES:,} values after its aliases are expanded")
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{where}{line}: not valid YAML: {shortened(error.problem)}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{where}: not valid YAML: {shortened(error)}") from error
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
        text = reading.read(path, MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(f"cannot read {clipped(path)}: {error.strerror}") from error
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
            raise UserError(f"--set {quoted(setting)}: should be path.to.field=value, such as task.length=500")
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
