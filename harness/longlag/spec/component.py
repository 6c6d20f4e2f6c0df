"""Components of a spec: a registered name and its options, flat and validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from longlag import registry
from longlag.errors import UserError, explain, quoted
from longlag.options import Fields
from longlag.registry import Kind

if TYPE_CHECKING:  # Task imports numpy
    from longlag.task import Task

UnitInterval = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(gt=0, le=10**9)]
"""Updates, units, sequences and the like: more of them are a slip of the pen."""
Size = Annotated[int, Field(gt=0, le=10**8)]
"""Parameters of a network whose hidden size is solved for, by building such networks."""

STORED: dict[str, Any] = {"stored": True}
"""Validation context for what was recorded: components are taken as they are, and their packages are not imported."""


def is_stored(info: ValidationInfo) -> bool:
    """Whether a model is validated in the context `STORED`."""
    return bool((info.context or {}).get("stored"))


class Spec(Fields):
    """Base of every spec."""


class Component(BaseModel):
    """A registered component and its options, flat: ``{name: lstm, forget_bias: 1}``, or just the name.

    Options that are not given are filled in, so that a default that is spelled out does not change the identity.

    Attributes:
        kind: which registry it is found in.
        default: the name of a mapping that has none, so that ``optimizer.lr`` alone can be set; None to require one.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)
    kind: ClassVar[Kind]
    default: ClassVar[str | None] = None
    name: str

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        if isinstance(value, Component):
            return value
        if isinstance(value, dict) and "name" not in value and cls.default is not None:
            value = {"name": cls.default, **value}
        if not isinstance(value, dict) or not isinstance(value.get("name"), str):
            raise UserError(f"{cls.kind}: should be a name, or a mapping with a field 'name'; got {quoted(value)}")
        if is_stored(info):
            return value
        given = {key: option for key, option in value.items() if key != "name"}
        definition = registry.load(cls.kind, value["name"])
        try:
            options = definition.Options.model_validate(given)
        except ValidationError as error:
            raise UserError(explain(error, f"{cls.kind} {quoted(value['name'])}", definition.Options)) from error
        return {"name": value["name"], **options.model_dump(mode="json")}

    @property
    def options(self) -> dict[str, Any]:
        """The options without the name."""
        return dict(self.model_extra or {})

    @property
    def definition(self) -> Any:
        """The registered class."""
        return registry.load(self.kind, self.name)

    def build(self) -> Any:
        """The component itself."""
        definition = self.definition
        return definition(definition.Options.model_validate(self.options))

    @property
    def reads(self) -> tuple[str, ...]:
        """What it reads beside its own code, as `Options.reads` says."""
        found: tuple[str, ...] = self.definition.Options.model_validate(self.options).reads
        return found

    @property
    def version(self) -> int:
        return int(self.definition.version)


class TaskSpec(Component):
    """Which task, with its options (``longlag show NAME`` lists them)."""

    kind: ClassVar[Kind] = "task"

    def build(self) -> Task:
        """The task itself."""
        task: Task = super().build()
        return task


class CellSpec(Component):
    """Which cell, with its options (``longlag show NAME`` lists them)."""

    kind: ClassVar[Kind] = "cell"


class OptimizerSpec(Component):
    """Which optimizer, with its options (``longlag show NAME`` lists them)."""

    kind: ClassVar[Kind] = "optimizer"
    default: ClassVar[str | None] = "adam"

    @property
    def lr(self) -> float:
        """The learning rate at the start of the schedule."""
        return float(self.options["lr"])

    @property
    def constrained_lr(self) -> float | None:
        """The learning rate of parameters behind orthogonal or unitary matrices; None where it does not differ."""
        value = self.options["constrained_lr"]
        return None if value is None else float(value)

    @property
    def decayed(self) -> str:
        """What weight decay shrinks: ``all`` or ``weights``."""
        return str(self.options.get("decayed", "all"))


class SamplerSpec(Component):
    """How a study chooses its points (``longlag show NAME`` lists a sampler's options)."""

    kind: ClassVar[Kind] = "sampler"
    default: ClassVar[str | None] = "tpe"

    @property
    def seed(self) -> int:
        return int(self.options["seed"])
