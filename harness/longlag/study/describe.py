"""How a study and its runs are described in the tracking store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from longlag import escape
from longlag.spec import ARM, RunSpec, StudySpec, label
from longlag.spec.axes import restored
from longlag.tracking import describe

FEW = 20
"""Values of a list that the note shows."""
FILE = "study.json"


def note(spec: StudySpec) -> str:
    """The note above the study in the tracking UI, as Markdown. A note has room for 20,000 characters."""
    given = spec.model_dump(mode="json", exclude_defaults=True, exclude={"description"})
    if spec.arms:
        given = {**given, "arms": list(spec.arms), "space": {k: v for k, v in given["space"].items() if k != ARM}}
    fields = escape.fenced(escape.mlflow(yaml.safe_dump(_brief(given), sort_keys=False), 10_000), "yaml")
    about = f"{escape.mlflow(escape.markdown(spec.description), 8_000)}\n\n" if spec.description.strip() else ""
    return (
        f"{about}Continue it with `longlag sweep {spec.name}`, read it with `longlag report {spec.name}`. "
        f"What is cut short here is complete in `{FILE}`, a file of the run `{spec.name}`.\n\n{fields}\n"
    )


def _brief(value: Any) -> Any:
    """Fields with the first values of long lists."""
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > FEW:
        return [*map(_brief, value[:FEW]), f"... {len(value):,} in all"]
    return value


def whole(spec: StudySpec) -> str:
    """All of the study, as `longlag sweep` reads it."""
    return spec.model_dump_json(exclude_defaults=True, indent=1)


def parameters(spec: StudySpec) -> dict[str, str]:
    """What the study's own run is said to vary."""
    axes = {}
    for path, axis in spec.space.items():
        given = [label(v) for v in axis] if isinstance(axis, list) else axis.model_dump(exclude_defaults=True)
        axes[f"space.{path}"] = json.dumps(given)
    seeds = ",".join(str(seed) for seed in spec.seeds)
    return {**axes, "seeds": seeds, "sampler": spec.sampler.name, "pruner": spec.pruner.name}


def run_name(number: int, spec: RunSpec, arm: str | None = None) -> str:
    """How one run of a trial is called in the tracking UI: by its arm, where the study has arms."""
    of = arm or f"{spec.cell.name} depth {spec.model.depth} {spec.optimizer.name}"
    seed = "" if f" seed {spec.seed} " in f"{of} " else f" seed {spec.seed}"
    return f"{number:03d} {of}{seed}"


def run_tags(study: str, trial: int, arm: str | None) -> dict[str, str]:
    """What a run of a trial is found by there."""
    tags = {describe.STUDY: study, describe.TRIAL: str(trial)}
    return tags if arm is None else {**tags, ARM: arm}


def arm_of(params: Mapping[str, Any], spec: StudySpec) -> str | None:
    """The arm of a trial, by its parameters in Optuna; None in a study without arms."""
    return str(restored(ARM, spec.space[ARM], params[ARM])) if ARM in params else None
