"""What a run is: its fields, its canonical form and its identity."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from typing import Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from longlag import registry
from longlag.errors import UserError, explain, quoted, suggestion
from longlag.spec.block import BlockSpec
from longlag.spec.component import CellSpec, Count, OptimizerSpec, Seed, Spec, TaskSpec, UnitInterval, is_stored
from longlag.spec.lengths import PROTOCOLS, LengthsSpec, over_protocol


class ReadoutSpec(Spec):
    """What maps the top layer's outputs to the task's: stacked feed-forward layers and a last affine map."""

    hidden: tuple[Count, ...] = Field(
        (), max_length=1000, description="units of each feed-forward layer before the last map"
    )
    activation: Literal["relu", "tanh", "sigmoid"] = Field("relu", description="after each of them")


class DecoderSpec(Spec):
    """Generation and translation: how a model answers, and how it is taught to."""

    network: Literal["two", "one"] = Field("two", description="translation: encoder and decoder, or one network")
    attention: Literal["none", "luong", "bahdanau"] = Field("none", description="translation with two networks")
    reverse_source: bool = Field(False, description="translation: read the source from its end (Sutskever 2014)")
    teacher_forcing: float = Field(1.0, ge=0, le=1, description="share of examples trained on the true history")
    teacher_forcing_end: float | None = Field(
        None, ge=0, le=1, description="the share at the end of the budget, linear in between (Bengio et al. 2015)"
    )
    decoding: Literal["greedy", "sample", "beam"] = Field("greedy", description="in evaluation")
    beam: Count = Field(5, description="hypotheses kept by beam search")
    temperature: PositiveFloat = Field(1.0, description="of sampling")


class ModelSpec(Spec):
    """The network around the cell."""

    later: ClassVar[tuple[str, ...]] = ("block",)

    hidden_size: Count = Field(64, description="units of every layer")
    depth: int = Field(1, gt=0, le=1000, description="number of layers")
    dropout: UnitInterval = Field(0.0, description="share of outputs zeroed between layers while training")
    residual: bool = Field(False, description="add a layer's input to its output where their sizes agree")
    layer_norm: bool = Field(False, description="normalise every layer's outputs")
    bidirectional: bool = Field(False, description="read in both directions")
    initial_state: Literal["cell", "zero", "learned"] = Field("cell", description="cell: what the cell's paper does")
    recurrent: Literal["free", "orthogonal"] = Field("free", description="keep every recurrent matrix orthogonal")
    view: Literal["layers", "masked"] = Field("layers", description="masked: the stack as one masked layer")
    block: BlockSpec = BlockSpec()
    readout: ReadoutSpec = ReadoutSpec()
    decoder: DecoderSpec = DecoderSpec()


class ClipSpec(Spec):
    """Gradient clipping, after the gradient's norms were read. Value first, then norm, where both are given."""

    norm: PositiveFloat | None = Field(None, description="bound on the norm of all gradients together")
    value: PositiveFloat | None = Field(None, description="bound on every element's magnitude")


class ScheduleSpec(Spec):
    """The learning rate over the run: lr times a factor of the update u = 0, 1, ... (budget U, warm-up w).

    constant: 1. step: gamma^floor(u / every). exponential: gamma^(u / every). cosine: from 1 to 0 over the budget.
    linear: from 1 to 0 over the budget. With a floor these two end there. During warm-up the factor is multiplied by
    (u + 1) / w.
    """

    later: ClassVar[tuple[str, ...]] = ("floor",)

    name: Literal["constant", "step", "exponential", "cosine", "linear"] = "constant"
    gamma: float = Field(0.1, gt=0, le=1)
    every: Count = 1000
    warmup: int = Field(0, ge=0, le=10**9)
    floor: UnitInterval = Field(0.0, description="cosine and linear: the factor at the end of the budget")


class TrainingSpec(Spec):
    """The loop: how much, how often, on what."""

    batch_size: Count = 50
    updates: Count = Field(5000, description="the budget")
    eval_every: Count = Field(200, description="updates between evaluations on the validation split")
    stop_when_solved: bool = Field(True, description="stop at the first evaluation that meets the criterion")
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    kernel: Literal["auto", "plain", "compiled"] = Field("auto", description="how cells run over time")
    checkpoint_steps: Count | None = Field(
        None, description="compiled: keep the states of every so many steps, compute the rest again going backward"
    )


class StageSpec(Spec):
    """A part of the training in which the task has other options: a curriculum."""

    until: float = Field(gt=0, le=1, description="share of the budget at which the stage ends")
    task: dict[str, Any] = Field(description="the task's options in this stage, over those of the run")


def _with_protocol(schema: dict[str, Any]) -> None:
    """``protocol`` may be written, and is replaced by what it stands for before anything is validated."""
    description = (
        "lengths as others train and test them, in place of fields of the task and of the data that are left out"
    )
    schema["properties"]["protocol"] = {"enum": list(PROTOCOLS), "description": description}


class DataSpec(Spec):
    """The data: fixed evaluation splits, whose draws depend on this seed alone, and the course of the training."""

    model_config = ConfigDict(json_schema_extra=_with_protocol)

    validation: Count = Field(1000, description="sequences in the validation split")
    test: Count = Field(2000, description="sequences in the test split")
    seed: Seed = 0
    curriculum: tuple[StageSpec, ...] | LengthsSpec = Field(
        (), description="stages in order, after the last the task itself; or how one option varies; or fixed: neither"
    )
    beyond: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="further test splits: a name -> options of the task over those of the run, such as a longer lag",
    )

    @field_validator("curriculum", mode="before")
    @classmethod
    def _one_form_each(cls, value: Any) -> Any:
        if value == "fixed" or (isinstance(value, dict) and value.get("name") == "fixed"):
            return ()
        if isinstance(value, dict | LengthsSpec):
            return value if isinstance(value, LengthsSpec) else LengthsSpec.model_validate(value)
        return value

    @property
    def stages(self) -> tuple[StageSpec, ...]:
        """The curriculum's stages, where it is made of them."""
        return () if isinstance(self.curriculum, LengthsSpec) else self.curriculum

    @model_validator(mode="after")
    def _in_order(self) -> DataSpec:
        ends = [stage.until for stage in self.stages]
        if any(after <= before for before, after in itertools.pairwise(ends)):
            raise ValueError(f"the curriculum's stages end in rising order, not at {ends}")
        for name in self.beyond:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or name in ("validation", "test"):
                raise ValueError(f"beyond.{name}: a name of letters, digits, - and _, other than validation and test")
        return self


class RegulariserSpec(Spec):
    """A term beside the loss that acts on gradient flow.

    omega: Pascanu, Mikolov and Bengio (2013), sum over k of (|dE/dx_{k+1} dx_{k+1}/dx_k| / |dE/dx_{k+1}| - 1)^2 with
    its immediate derivative, for simple recurrent cells; weight 4 in the paper's temporal order.
    """

    name: Literal["none", "omega"] = "none"
    weight: PositiveFloat = Field(4.0, description="of the term, beside a loss with weight 1")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _used(self) -> RegulariserSpec:
        if self.name == "none" and self.weight != 4.0:
            raise ValueError("regulariser.weight: of what? set regulariser.name, such as omega")
        return self


Moment = Literal["start", "evaluation", "end", "divergence"] | Count
Moments = tuple[Moment, ...]


class WhenSpec(Spec):
    """When each probe looks: start, evaluation, end, divergence, or the number of an update. Empty: never.

    Any further registered probe may be named as well. One that is not named never looks, and is no part of the
    canonical form: a probe that is installed does not change the identity of runs.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Moments]

    total: Moments = Field(("start", "evaluation", "divergence"), description="gradient of the whole loss through time")
    lag: Moments = Field(("start", "evaluation", "divergence"), description="of the loss at one step, by lag")
    jacobian: Moments = Field((), description="singular values, spectral radius, Lyapunov exponents of the step")
    saturation: Moments = Field(("start", "end"), description="gates shut and open, time constants")
    states: Moments = Field(("start", "end"), description="norms of the states and their growth over time")
    orthogonality: Moments = Field(("start", "end"), description="how far recurrent matrices are from orthogonal")
    update_ratio: Moments = Field(("start", "evaluation"), description="norm of an update over that of the weights")

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or is_stored(info):
            return value
        further = [name for name in value if name not in cls.model_fields]
        for name in further:
            if name not in registry.names("probe"):
                hint = suggestion(str(name), list(dict.fromkeys([*cls.model_fields, *registry.names("probe")])))
                raise UserError(f"probe.when: there is no probe named {quoted(name)}{hint} (`longlag list probes`)")
            registry.load("probe", name)
        never = [name for name in further if value[name] in ([], ())]
        return {name: moments for name, moments in value.items() if name not in never}

    def moments(self) -> dict[str, Moments]:
        """When each probe that is named looks."""
        return {**{name: getattr(self, name) for name in type(self).model_fields}, **self.__pydantic_extra__}


class ProbeSpec(Spec):
    """What watches the run. A probe never changes a run's numbers."""

    log_every: Count = Field(20, description="updates between logged losses and gradient norms")
    curves: bool = Field(True, description="gradient norms through time; off: also none at the moments in `when`")
    training: bool = Field(True, description="the total curve of the training batch itself at logged updates")
    batch_size: Count = Field(50, description="validation sequences the probes look at")
    when: WhenSpec = WhenSpec()


class RunSpec(Spec):
    """One training run with one seed: everything that its numbers depend on."""

    task: TaskSpec
    cell: CellSpec
    model: ModelSpec = ModelSpec()
    optimizer: OptimizerSpec = Field(default_factory=lambda: OptimizerSpec(name="adam"))
    clip: ClipSpec = ClipSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    training: TrainingSpec = TrainingSpec()
    data: DataSpec = DataSpec()
    probe: ProbeSpec = ProbeSpec()
    regulariser: RegulariserSpec = RegulariserSpec()
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _over_the_protocol(cls, value: Any) -> Any:
        return over_protocol(value)

    @model_validator(mode="after")
    def _tasks_agree(self, info: ValidationInfo) -> RunSpec:
        if is_stored(info):
            return self
        varied = [] if self.lengths is None else [self.lengths[0]]
        for options in (*(stage.task for stage in self.data.stages), *varied, *self.data.beyond.values()):
            other = self.task_with(options).build().signature
            if other != self.task.build().signature:
                raise ValueError(f"data: with {options} the task has another signature: one model cannot serve both")
        return self

    @property
    def lengths(self) -> list[dict[str, Any]] | None:
        """The options that the task has in turn under a curriculum over one of them; None without such a one."""
        varied = self.data.curriculum
        if not isinstance(varied, LengthsSpec):
            return None
        return [{varied.option: value} for value in varied.values(self.task.options.get(varied.option))]

    def task_with(self, options: dict[str, Any]) -> TaskSpec:
        """The run's task with some options changed."""
        return TaskSpec.model_validate({**self.task.model_dump(), **options})

    def canonical(self) -> str:
        """The canonical JSON form: every field, see `Fields.later`, defaults included, keys sorted, no white space."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def run_key(self) -> str:
        """The run's identity: SHA-256 of the canonical form and of the versions of its task, cell and optimizer."""
        identity = f"{self.canonical()}\ntask {self.task.version}\ncell {self.cell.version}\n"
        if self.optimizer.version > 1:  # the identities of runs with a first version have no line for it
            identity += f"optimizer {self.optimizer.version}\n"
        return hashlib.sha256(identity.encode()).hexdigest()


def load_run(data: Any, where: str = "run") -> RunSpec:
    """A validated run spec.

    Raises:
        UserError: one sentence naming every field that is wrong.
    """
    try:
        return RunSpec.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, where, RunSpec)) from error
