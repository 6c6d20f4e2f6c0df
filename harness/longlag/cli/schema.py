"""``longlag schema``: the JSON schema of a run's, a study's or a paper study's YAML, for editors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from longlag import registry
from longlag.cli import terminal
from longlag.errors import UserError, quoted, suggestion
from longlag.log import log

if TYPE_CHECKING:
    from longlag.spec import Component

KINDS = ("run", "study", "paper")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(
    kind: Annotated[str, typer.Argument(help="run, study or paper.", autocompletion=lambda: list(KINDS))] = "study",
) -> None:
    """Print the JSON schema of a run's, a study's or a paper study's YAML, for editors.

    \b
      longlag schema study > study.schema.json
      # and as the first line of a YAML file beside it, for editors:
      # yaml-language-server: $schema=study.schema.json
    """
    if kind not in KINDS:
        hint = suggestion(kind, list(KINDS)) or "; there are 'run', 'study' and 'paper'"
        raise UserError(f"there is no schema {quoted(kind)}{hint}")
    made = {"run": run_schema, "study": study_schema, "paper": paper_schema}[kind]()
    terminal.print_json(made)


def run_schema() -> dict[str, Any]:
    """Of a `RunSpec`, with every registered task, cell, optimizer and probe, and their options."""
    from longlag.spec import CellSpec, OptimizerSpec, RunSpec, TaskSpec

    result = RunSpec.model_json_schema()
    definitions = result["$defs"]
    for spec in (TaskSpec, CellSpec, OptimizerSpec):
        definitions[spec.__name__] = component(spec, definitions)
    result["properties"]["optimizer"]["default"] = OptimizerSpec.default
    when = definitions["WhenSpec"]
    never = {**when["properties"]["jacobian"], "description": "a further probe", "default": []}
    when["properties"] = {**dict.fromkeys(registry.names("probe"), never), **when["properties"]}
    when["additionalProperties"] = False
    return {"$schema": DIALECT, **result, "title": "A run of longlag"}


def study_schema() -> dict[str, Any]:
    """Of a `StudySpec`: its base has a run's fields, none of them required, and its space their dotted paths."""
    from longlag.spec import SamplerSpec, StudySpec

    run, result = run_schema(), StudySpec.model_json_schema()
    definitions = {**run["$defs"], **result["$defs"]}
    definitions["SamplerSpec"] = component(SamplerSpec, definitions)
    result["properties"]["sampler"]["default"] = SamplerSpec.default
    result["properties"]["objectives"]["items"] = {"enum": registry.names("objective")}
    fields = {name: field for name, field in run["properties"].items() if name != "seed"}
    result["properties"]["base"] = {
        "type": "object",
        "description": result["properties"]["base"]["description"],
        "properties": fields,
        "additionalProperties": False,
    }
    space = result["properties"]["space"]
    space["properties"] = {path: _axis(field, definitions) for path, field in _paths(fields, definitions)}
    space["additionalProperties"] = _axis({}, definitions)
    return {"$schema": DIALECT, **result, "$defs": definitions, "title": "A study of longlag"}


def paper_schema() -> dict[str, Any]:
    """Of a `PaperSpec`: its base has a run's fields, its arms and scales set their dotted paths."""
    from longlag.papers.spec import PaperSpec

    run, result = run_schema(), PaperSpec.model_json_schema()
    fields = {name: field for name, field in run["properties"].items() if name != "seed"}
    about = result["properties"]["base"]["description"]
    base = {"type": "object", "description": about, "properties": fields, "additionalProperties": False}
    result["properties"]["base"] = base
    return {"$schema": DIALECT, **result, "$defs": {**run["$defs"], **result["$defs"]}, "title": "A paper study"}


def _axis(field: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A list of a field's values, a range, or values that exist only for some choices of another axis."""
    values = {"type": "array", "minItems": 1, "items": field}
    conditional = definitions["Values"]
    conditional = {**conditional, "properties": {**conditional["properties"], "values": values}}
    return {"anyOf": [values, {"$ref": "#/$defs/Range"}, conditional]}


def component(spec: type[Component], definitions: dict[str, Any]) -> dict[str, Any]:
    """One of the registered names, or a mapping of a name and its options; the default's name may be left out."""
    kind = spec.kind
    variants: list[dict[str, Any]] = []
    for name in registry.names(kind):
        try:
            options = registry.load(kind, name).Options
            described = options.model_json_schema(ref_template=f"#/$defs/{kind}.{name}.{{model}}")
        except Exception as error:  # a plug-in may be broken in any way; `longlag list` says what is wrong with it
            log.info("%s %r has no schema: %s", kind, name, error, exc_info=True)
            continue
        for inner, definition in described.pop("$defs", {}).items():
            definitions[f"{kind}.{name}.{inner}"] = definition
        variants.append(
            {
                "title": name,
                "type": "object",
                "properties": {"name": {"const": name}, **described.get("properties", {})},
                "required": [*([] if name == spec.default else ["name"]), *described.get("required", [])],
                "additionalProperties": False,
            }
        )
    names = {"enum": registry.names(kind), "description": "by name, with its defaults"}
    return {"oneOf": [names, *variants]}


def _paths(fields: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted path and its schema; what belongs to one task, cell or optimizer only is left to the loader."""
    for name, field in fields.items():
        path = f"{prefix}{name}"
        yield path, field
        inner = definitions.get(str(field.get("$ref", "")).rpartition("/")[2], {})
        yield from _paths(inner.get("properties", {}), definitions, f"{path}.")
