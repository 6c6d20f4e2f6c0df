"""``longlag show``: everything about one component or study."""

from __future__ import annotations

import inspect
import json as json_
from pathlib import Path
from typing import Annotated, Any

import typer

from longlag import registry
from longlag.cli import options, studies, terminal
from longlag.errors import UserError, quoted, suggestion
from longlag.log import log
from longlag.registry import Kind

EXAMPLE_INPUT, EXAMPLE_HIDDEN = 2, 64


def show(
    name: Annotated[
        str,
        typer.Argument(help="Name of a component or a study.", autocompletion=options.complete_name),
    ],
    json: options.Json = False,
    home: options.Home = None,
) -> None:
    """Show one task, cell, optimizer, probe, sampler, objective, kernel target, executor or study.

    \b
      longlag show adding
      longlag show lstm
      longlag show quickstart
    """
    found: list[dict[str, Any]] = []
    if name in registry.names("task"):
        found.append(task(name))
    if name in registry.names("cell"):
        found.append(cell(name))
    for kind in ("optimizer", "probe", "sampler", "objective"):
        if name in registry.names(kind):
            found.append(_common(kind, name, registry.load(kind, name)))
    if name in registry.names("target"):
        found.append(target(name))
    if name in registry.names("executor"):
        found.append(executor(name))
    if not found:
        found.append(study(name, home))
    if json:
        terminal.print_json(found[0] if len(found) == 1 else found)
        return
    for entry in found:
        terminal.say(_text(entry))


def task(name: str) -> dict[str, Any]:
    import numpy as np

    definition = registry.load("task", name)
    built = definition()
    facts: dict[str, Any] = {"loss": None, "baseline": None, "sample": None, "needs": None}
    try:
        for package in built.needs:
            package.require()
        baseline = built.baseline()
        facts["loss"] = built.signature.loss
        facts["sample"] = built.describe(built.sample(np.random.default_rng(0), 1), 0)
        facts["baseline"] = {"value": baseline.value, "predictor": baseline.predictor, "formula": baseline.formula}
    except UserError as error:  # a package or a file that it needs
        facts["needs"] = str(error)
        log.info("no sample of task %r", name, exc_info=True)
    return {
        **_common("task", name, definition),
        "mapping": built.mapping.value,
        "metrics": [
            {"name": m.name, "goal": m.goal, "unit": m.unit, "meaning": m.meaning, "best": m.best}
            for m in built.metrics
        ],
        "solved": built.criterion,
        **facts,
    }


def cell(name: str) -> dict[str, Any]:
    definition = registry.load("cell", name)
    layer = definition().layer(EXAMPLE_INPUT, EXAMPLE_HIDDEN)
    count = sum(parameter.numel() for parameter in layer.parameters())
    return {
        **_common("cell", name, definition),
        "states": list(layer.state_names),
        "parameters": {"input_size": EXAMPLE_INPUT, "hidden_size": EXAMPLE_HIDDEN, "depth": 1, "count": count},
    }


def target(name: str) -> dict[str, Any]:
    definition = registry.load("target", name)
    return {
        "kind": "target",
        "name": name,
        "from": registry.origin("target", name),
        "definition": inspect.getdoc(definition) or "",
        "options": {},
        "devices": list(definition.devices),
        "automatic": definition.automatic,
    }


def executor(name: str) -> dict[str, Any]:
    from pydantic import TypeAdapter

    definition = registry.load("executor", name)
    schema = TypeAdapter(definition).json_schema()
    required = schema.get("required", [])
    settings = {
        key: field if key in required else {"default": {}, **field}
        for key, field in schema.get("properties", {}).items()
    }
    return {
        "kind": "executor",
        "name": name,
        "from": registry.origin("executor", name),
        "definition": inspect.getdoc(definition) or "",
        "options": settings,
    }


def study(name: str, home: Path | None) -> dict[str, Any]:
    from longlag.cli import homes

    begun = {row["name"]: row for row in homes.studies(home)}
    if name not in begun:
        known = [*(each for kind in registry.KINDS for each in registry.names(kind)), *begun]
        hint = suggestion(name, known) or " (`longlag list tasks`, `cells` and `studies` show what there is)"
        raise UserError(f"there is no component or study named {quoted(name)}{hint}")
    row = begun[name]
    if name in studies.names():
        text = studies.text(name)
    else:
        import yaml

        from longlag.study.store import StudyStore

        url = homes.studies_url(home, None)
        assert url is not None  # it was found there
        spec = StudyStore.stored(name, url).spec
        text = yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
    return {"kind": "study", "name": name, "from": row["from"], "trials": row["trials"], "yaml": text}


def _common(kind: Kind, name: str, definition: Any) -> dict[str, Any]:
    schema = definition.Options.model_json_schema() if hasattr(definition, "Options") else {}
    return {
        "kind": kind,
        "name": name,
        "from": registry.origin(kind, name),
        "version": definition.version,
        "definition": inspect.getdoc(definition) or "",
        "options": schema.get("properties", {}),
    }


def _text(entry: dict[str, Any]) -> str:
    """The same for a reader."""
    blocks = [f"{entry['kind']} {entry['name']}  (from {entry['from']})"]
    if entry["kind"] == "study":
        return "\n".join([*blocks, f"trials: {entry['trials']}", "", entry["yaml"]])
    blocks += ["", entry["definition"], "", "Options"]
    blocks += [f"  {_option(key, value)}" for key, value in entry["options"].items()] or ["  none"]
    if entry["kind"] == "cell":
        size = entry["parameters"]
        blocks += ["", f"States      {', '.join(entry['states'])}"]
        blocks += [f"Parameters  {size['count']:,} for {size['input_size']} inputs and {size['hidden_size']} units"]
        return "\n".join(blocks)
    if entry["kind"] != "task":
        return "\n".join(blocks)
    blocks += ["", "Metrics"]
    blocks += [f"  {m['name']} [{m['unit']}]: {m['meaning']} (best {m['best']:g})" for m in entry["metrics"]]
    blocks += ["", f"Solved             {entry['solved']}"]
    if entry["needs"]:
        return "\n".join([*blocks, "", f"Needs  {entry['needs']}"])
    baseline = entry["baseline"]
    blocks += [f"Trivial predictor  {baseline['predictor']}: {baseline['value']:.6g} = {baseline['formula']}"]
    blocks += ["", "A sample", entry["sample"]]
    return "\n".join(blocks)


def _option(key: str, field: dict[str, Any]) -> str:
    default = f" = {json_.dumps(field['default'])}" if "default" in field else " (required)"
    choices = f" [{' | '.join(map(str, field['enum']))}]" if "enum" in field else ""
    about = f"  {field['description']}" if "description" in field else ""
    return f"{key}{default}{choices}{about}"
