"""What a study is: a base run, the fields that vary, how to search, and for how long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from longlag import registry
from longlag.errors import UserError, explain, quoted
from longlag.spec import axes, points
from longlag.spec.axes import Range, Values
from longlag.spec.component import STORED, Count, SamplerSpec, Seed, Size, Spec, is_stored
from longlag.spec.run import RunSpec, load_run
from longlag.specfile import assign

Direction = Literal["minimize", "maximize"]
ARM = "arm"
"""The axis of a study's space that its arms make."""


class PrunerSpec(Spec):
    """When Optuna gives up on a trial early."""

    name: Literal["none", "median", "hyperband", "wilcoxon"] = "none"
    startup_trials: int = Field(5, ge=0, description="median: trials that are never pruned")
    warmup_updates: int = Field(0, ge=0, description="median: updates before a trial may be pruned")
    p_threshold: float = Field(
        0.1, gt=0, le=1, description="wilcoxon: signed-rank test over the seeds against the best trial"
    )


class StudySpec(Spec):
    """A search over runs: a base run, the fields that vary, the seeds of every point, and how to search."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    description: str = ""
    base: dict[str, Any] = Field(description="a run's fields (see RunSpec); the space overrides them")
    arms: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="named conditions: a name -> dotted path of a run's field, or `seed` -> value, over those of the "
        "base; they make the axis `arm` of the space",
    )
    space: dict[str, list[Any] | Range | Values] = Field(
        default_factory=dict,
        description="dotted path of a run's field -> list of values, or a range; with `when`, only for some choices",
    )
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, description="every point is run with each of them")
    parameters: Size | None = Field(
        None, description="equal size: every point gets the hidden size whose parameter count is nearest to this"
    )
    objectives: tuple[str, ...] = Field(
        ("score",),
        min_length=1,
        description="what is searched for (`longlag list objectives`); with several, the report shows the Pareto front",
    )
    trials: Count | None = Field(None, description="points to try; all of them when not given and the space has an end")
    total_updates: int | None = Field(
        None,
        gt=0,
        le=10**15,
        description="budget of the study: no trial begins after so many updates, over all runs together",
    )
    hours: PositiveFloat | None = Field(
        None, description="budget of the study: no trial begins after so many hours in which a trial was running"
    )
    enqueue: tuple[dict[str, Any], ...] = Field(
        (), description="known points, tried first: dotted path -> value; axes left out are the sampler's choice"
    )
    sampler: SamplerSpec = Field(default_factory=lambda: SamplerSpec(name="tpe"))
    pruner: PrunerSpec = PrunerSpec()

    @model_validator(mode="before")
    @classmethod
    def _arm_axis(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("arms"), dict) and value["arms"]:
            space = value.get("space") or {}
            if isinstance(space, dict) and ARM not in space:
                return {**value, "space": {ARM: list(value["arms"]), **space}}
        return value

    @field_validator("space", mode="before")
    @classmethod
    def _axes(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {path: axes.axis(str(path), given) for path, given in value.items()}

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in () if is_stored(info) else value:
            registry.load("objective", name)
        return value

    @field_validator("seeds", "objectives")
    @classmethod
    def _distinct(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"{info.field_name} stand twice: {list(value)}")
        return value

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> StudySpec:
        if is_stored(info):
            return self
        if "seed" in self.base or "seed" in self.space:
            raise ValueError("seeds of a study go into its field 'seeds'")
        arms = self.space.get(ARM, [])
        unknown = [name for name in arms if name not in self.arms] if isinstance(arms, list) else [arms]
        if unknown:
            raise ValueError(f"space.{ARM}: should name some of the study's arms, not {quoted(unknown[0])}")
        points.check(self.space)
        points.check_apart(self.space, {ARM: self.arms} if ARM in self.space else {})
        exhaustive = self.sampler.definition.exhaustive
        for path, axis in self.space.items():
            if exhaustive and isinstance(axis, Range) and axis.step is None and not axis.whole:
                raise ValueError(f"space.{path}: a {self.sampler.name} needs a list of values, or a range with a step")
        if self.parameters is not None and "model.hidden_size" in self.space:
            raise ValueError("parameters: the hidden size is solved for, so it cannot be an axis of the space as well")
        if not exhaustive and self.trials is None and self.total_updates is None and self.hours is None:
            raise ValueError(
                f"trials: how many points should the {self.sampler.name} sampler try? (or total_updates, or hours)"
            )
        self._search_fits()
        named = points.Named(self.space)
        for number, given in enumerate(self.enqueue, 1):
            try:
                named.point(given)
            except UserError as error:
                raise UserError(f"enqueue, point {number}: {error}") from None
        if self.trials is not None and len(self.enqueue) > self.trials:
            raise ValueError(f"enqueue: {len(self.enqueue)} points are more than trials: {self.trials}")
        return self

    def _search_fits(self) -> None:
        if self.pruner.name == "wilcoxon" and len(self.seeds) < 3:
            raise ValueError("pruner: wilcoxon compares seeds, and needs three of them or more")
        if self.pruner.name != "none" and self.objectives != ("score",):
            raise ValueError(
                f"pruner: {self.pruner.name} judges a trial by its score on the way, so it goes with objectives: "
                "[score] only; leave the pruner out"
            )
        if len(self.objectives) > 1 and not self.sampler.definition.several_objectives:
            raise ValueError(f"sampler: {self.sampler.name} takes one objective; for several take another, such as tpe")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Of the objectives, in order."""
        return tuple(registry.load("objective", name).direction for name in self.objectives)

    def run(self, point: dict[str, Any], seed: int) -> RunSpec:
        """The run at one point of the space. Shorter paths are set first: ``cell`` before ``cell.forget_bias``.

        An arm that names a seed is run with that one.
        """
        data: dict[str, Any] = dict(self.base)
        arm = self.arms[point[ARM]] if ARM in point else {}
        for fields in (arm, {path: value for path, value in point.items() if path != ARM}):
            for path in sorted(fields, key=lambda path: path.count(".")):
                assign(data, path, fields[path])
        return load_run({"seed": seed, **data})

    def first(self) -> RunSpec:
        """The run at the first value of every axis, with the first seed."""
        return self.run(self.corner(), self.seeds[0])

    def corner(self) -> dict[str, Any]:
        """The first value of every axis that exists there."""
        return points.complete(self.space, {})

    def identity(self) -> str:
        """SHA-256 of what makes it the same search: base, space and seeds, but not how many trials.

        The base enters as the run that it gives, so that a default that is spelled out does not change the identity,
        and a new version of a task or cell does.
        """
        fields = self.model_dump(mode="json", include={"space", "seeds"})
        identity = [self.first().run_key, list(fields["space"].items()), fields["seeds"]]
        if self.parameters is not None:
            identity.append(self.parameters)
        if self.arms:
            at = [points.complete(self.space, {ARM: arm}) for arm in self.arms]
            identity.append([self.run(point, self.seeds[0]).run_key for point in at])
        if self.objectives != ("score",):
            identity.append({"objectives": self.objectives})
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def stored_study(data: Any, where: str) -> StudySpec:
    """A study spec as it was recorded; what it names need not be installed.

    Raises:
        UserError: when it is not a study spec, such as one of a newer longlag.
    """
    try:
        return StudySpec.model_validate(data, context=STORED)
    except ValidationError as error:
        raise UserError(explain(error, where, StudySpec)) from error


def load_study(data: Any, where: str = "study") -> StudySpec:
    """A validated study spec; the run at its first point is validated too, and with every other value of one axis.

    Raises:
        UserError: one sentence naming every field that is wrong.
    """
    try:
        study = StudySpec.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, where, StudySpec)) from error
    try:
        study.first()
    except UserError as error:
        raise UserError(f"{where}: {error}{_conditional(study, str(error))}") from error
    for path, axis in study.space.items():
        fixed = points.reach(study.space, path) or {}
        owners: dict[str, Any] = {}
        for value in axes.probes(axis):
            try:
                run = study.run(points.complete(study.space, {**fixed, path: value}), study.seeds[0])
            except UserError as error:
                raise UserError(f"{where}: space.{path}: {error}{_conditional(study, str(error))}") from error
            owner = owners.setdefault(run.run_key, value)
            if owner is not value and not isinstance(axis, Range):
                raise UserError(f"{where}: space.{path}: {quoted(owner)} and {quoted(value)} are one and the same run")
    named = points.Named(study.space)
    for number, given in enumerate(study.enqueue, 1):
        try:
            study.run(points.complete(study.space, named.point(given)), study.seeds[0])
        except UserError as error:
            raise UserError(f"{where}: enqueue, point {number}: {error}") from error
    return study


def _conditional(study: StudySpec, sentence: str) -> str:
    """What to do about an axis that some choices of another one have no field for."""
    for path, axis in study.space.items():
        if f"no field {quoted(path.rpartition('.')[2])}" in sentence and not axes.condition(axis):
            return f"; if only some choices have {path}, give it a condition: {{when: {{cell: lstm}}, values: [0, 1]}}"
    return ""
