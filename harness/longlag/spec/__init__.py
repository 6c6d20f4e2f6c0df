"""The configuration types: what a run and a study are, their canonical form and their identity."""

from __future__ import annotations

from longlag.spec.axes import Axis, Range, Space, Values, label, labels
from longlag.spec.component import RECORDED, CellSpec, Component, OptimizerSpec, SamplerSpec, Spec, TaskSpec
from longlag.spec.needs import require_for_fields, require_for_run, require_for_study
from longlag.spec.run import (
    ClipSpec,
    DataSpec,
    DecoderSpec,
    ModelSpec,
    Moment,
    ProbeSpec,
    ReadoutSpec,
    RegulariserSpec,
    RunSpec,
    ScheduleSpec,
    StageSpec,
    TrainingSpec,
    WhenSpec,
    load_run,
)
from longlag.spec.study import ARM, Direction, PrunerSpec, StudySpec, load_study, recorded_study

__all__ = [
    "ARM",
    "RECORDED",
    "Axis",
    "CellSpec",
    "ClipSpec",
    "Component",
    "DataSpec",
    "DecoderSpec",
    "Direction",
    "ModelSpec",
    "Moment",
    "OptimizerSpec",
    "ProbeSpec",
    "PrunerSpec",
    "Range",
    "ReadoutSpec",
    "RegulariserSpec",
    "RunSpec",
    "SamplerSpec",
    "ScheduleSpec",
    "Space",
    "Spec",
    "StageSpec",
    "StudySpec",
    "TaskSpec",
    "TrainingSpec",
    "Values",
    "WhenSpec",
    "label",
    "labels",
    "load_run",
    "load_study",
    "recorded_study",
    "require_for_fields",
    "require_for_run",
    "require_for_study",
]
