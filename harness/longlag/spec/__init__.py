"""The configuration types: what a run and a study are, their canonical form and their identity."""

from __future__ import annotations

from longlag.spec.axes import Axis, Range, Space, Values, label, labels
from longlag.spec.block import BlockSpec
from longlag.spec.component import (
    STORED,
    CellSpec,
    Component,
    Count,
    OptimizerSpec,
    SamplerSpec,
    Seed,
    Size,
    Spec,
    TaskSpec,
)
from longlag.spec.lengths import PROTOCOLS, LengthsSpec
from longlag.spec.needs import read_by_run, read_by_study, require_for_fields, require_for_run, require_for_study
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
from longlag.spec.study import ARM, Direction, PrunerSpec, StudySpec, load_study, stored_study

__all__ = [
    "ARM",
    "PROTOCOLS",
    "STORED",
    "Axis",
    "BlockSpec",
    "CellSpec",
    "ClipSpec",
    "Component",
    "Count",
    "DataSpec",
    "DecoderSpec",
    "Direction",
    "LengthsSpec",
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
    "Seed",
    "Size",
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
    "read_by_run",
    "read_by_study",
    "require_for_fields",
    "require_for_run",
    "require_for_study",
    "stored_study",
]
