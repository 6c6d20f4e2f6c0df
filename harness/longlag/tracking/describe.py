"""How a run is described in MLflow: its parameters, tags and dataset inputs."""

from __future__ import annotations

import colorsys
import getpass
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from longlag import escape, processes, registry
from longlag.spec import RunSpec
from longlag.training.result import RunResult

if TYPE_CHECKING:
    from longlag.training import Split

PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
IDENTITY = "longlag.study_identity"
STUDY = "longlag.study"
TRIAL = "longlag.trial"
ADOPTED = "longlag.adopted_from"
LAYOUT = "longlag.layout"
DIGEST_LIMIT, NAME_LIMIT, PARAMETER_LIMIT, TAG_LIMIT = 36, 250, 6_000, 8_000
"""Characters that MLflow has room for."""


def parameters(spec: RunSpec) -> dict[str, str]:
    """The spec's fields under the dotted paths that a study gives them: ``cell``, ``cell.forget_bias`` ...

    The name of a task, cell, optimizer or schedule stands under the component's own path.
    """
    flat: dict[str, str] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(path if key == "name" else f"{path}.{key}".lstrip("."), item)
        elif value is None:
            flat[path] = "none"
        else:
            flat[path] = escape.mlflow(value if isinstance(value, str) else json.dumps(value), PARAMETER_LIMIT)

    walk("", spec.model_dump(mode="json"))
    return flat


def tags(spec: RunSpec, environment: Mapping[str, str]) -> dict[str, str]:
    """What runs are searched, filtered and grouped by."""
    commit = environment.get("git_commit", "")
    named = {
        "task": spec.task.name,
        "cell": spec.cell.name,
        "depth": str(spec.model.depth),
        "optimizer": spec.optimizer.name,
        "seed": str(spec.seed),
        "run_key": spec.run_key,
        "git_commit": commit,
        "kernel": environment.get("kernel", ""),
        "mlflow.runColor": colour(spec.cell.name, spec.model.depth),
        "mlflow.source.name": "longlag",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
    }
    others = {f"environment.{key}": value for key, value in environment.items() if key not in named}
    found = {**named, **others, **process()}
    return {key: escape.mlflow(value, TAG_LIMIT) for key, value in found.items() if value}


def colour(cell: str, depth: int) -> str:
    """A run's colour in the charts: a hue for each installed cell, darker with depth."""
    names = registry.names("cell")
    hue = (0.58 + 0.381966 * (names.index(cell) if cell in names else len(names))) % 1  # the golden angle: far apart
    red, green, blue = colorsys.hls_to_rgb(hue, max(0.25, 0.62 - 0.14 * depth), 0.7)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def process() -> dict[str, str]:
    """The process of a run: tells a run whose process has died from one that still trains."""
    return {"mlflow.user": _user(), **processes.this()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return ""


def final(result: RunResult) -> dict[str, float]:
    """The numbers of a result that no evaluation has logged yet, as they stand on the run."""
    values = {f"test/{name}": value for name, value in (result.test or {}).items()}
    values |= {f"{split}/{name}": v for split, metrics in result.beyond.items() for name, v in metrics.items()}
    values |= {
        "score": result.score,
        "baseline": result.baseline,
        "updates": float(result.updates),
        "parameters": float(result.parameters),
        "wall_seconds": result.wall_seconds,
        "cpu_seconds": result.cpu_seconds,
    }
    if result.state_size is not None:
        values["state_size"] = float(result.state_size)
    if result.solved:
        values["solved_at"] = result.updates_to_solved
    return values


@cache
def metric_name(name: str) -> str:
    """`name` with what MLflow does not allow in a metric's name replaced."""
    return re.sub(r"[^\w\-./: ]", "_", name, flags=re.ASCII)[:250]


def dataset_fields(split: Split) -> tuple[str, dict[str, Any]]:
    """One evaluation split as MLflow's dataset: name, fingerprint, rows, columns; the sequences stay here.

    Its own name comes first.
    """
    name, _, digest = split.table._fingerprint.rpartition("-")
    columns = [{"name": key, "required": True, **_type(f)} for key, f in split.table.features.items()]
    profile = {
        "num_rows": split.table.num_rows,
        "num_elements": int(split.batch.inputs.size),
        "steps": split.batch.steps,
        "inputs": list(split.batch.inputs.shape),
        "targets": list(split.batch.targets.shape),
    }
    return split.name, {
        "name": name or split.name,
        "digest": digest[-DIGEST_LIMIT:],
        "source_type": "code",
        "source": json.dumps({"tags": {"made_by": "longlag", "fingerprint": split.table._fingerprint}}),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps(profile),
    }


def _type(feature: Any) -> dict[str, Any]:
    """A column's type in the words of MLflow's column schema."""
    depth = len(getattr(feature, "shape", None) or ())
    while hasattr(feature, "feature"):
        feature, depth = feature.feature, depth + 1
    kind = {"float32": "float", "float64": "double", "int32": "integer", "int64": "long", "bool": "boolean"}
    described: dict[str, Any] = {"type": kind.get(str(feature.dtype), str(feature.dtype))}
    for _ in range(depth):
        described = {"type": "array", "items": described}
    return described
