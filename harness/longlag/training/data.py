"""The fixed evaluation splits: drawn once from a seed of their own, held as Arrow tables by ``datasets``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from longlag.spec import RunSpec, TaskSpec
from longlag.task import Array, Batch, Task
from longlag.training import arrow
from longlag.training.seeding import numpy_generator


@dataclass(frozen=True)
class Split:
    """One evaluation split.

    Args:
        name: ``validation`` or ``test``.
        table: the sequences, one a row (``inputs``, ``targets`` and, where the task has them, ``length``,
            ``counted``); its fingerprint is the same on every machine for the same spec.
        batch: the same sequences, time-major.
    """

    name: str
    table: datasets.Dataset
    batch: Batch


def fingerprint(task: TaskSpec, name: str, size: int, seed: int) -> str:
    """What identifies a split: task, options, version, split, size and data seed."""
    identity = [task.model_dump(mode="json"), task.version, name, size, seed]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return f"{task.name}-v{task.version}-{name}-{digest}"


def splits(spec: RunSpec, cache: Path | None = None) -> dict[str, Split]:
    """The evaluation splits of a run: ``validation``, ``test`` and those of ``data.beyond``.

    Args:
        spec: the run; only its task and data fields matter.
        cache: folder for the Arrow files, shared between runs: a split that is there is not drawn again. None keeps the
            tables in memory.
    """
    sizes = {"validation": spec.data.validation, "test": spec.data.test}
    found = {name: _split(spec.task, name, size, spec.data.seed, cache) for name, size in sizes.items()}
    for name, options in spec.data.beyond.items():
        other = _split(spec.task_with(options), "test", spec.data.test, spec.data.seed, cache)
        found[name] = Split(name, other.table, other.batch)
    return found


def validation_of(spec: RunSpec, task: TaskSpec, cache: Path | None) -> Split:
    """The validation split of the run's task with other options."""
    return _split(task, "validation", spec.data.validation, spec.data.seed, cache)


def _split(spec: TaskSpec, name: str, size: int, seed: int, cache: Path | None) -> Split:
    task: Task = spec.build()
    per_step = task.signature.per_step
    mark = fingerprint(spec, name, size, seed)

    def draw() -> datasets.Dataset:
        drawn = _columns(task.split(name, numpy_generator(seed, f"{spec.name}/{name}"), size), per_step)
        return datasets.Dataset.from_dict({k: list(v) for k, v in drawn.items()}, features=_features(drawn))

    plain = draw() if cache is None else arrow.cached(cache / f"{mark}.arrow", draw)
    table = datasets.Dataset(plain.data, info=plain.info, split=datasets.NamedSplit(name), fingerprint=mark)
    return Split(name, table, _batch(table, per_step))


def _transposed(values: Array | None) -> Array | None:
    return None if values is None else values.swapaxes(0, 1)


def _columns(batch: Batch, per_step: bool) -> dict[str, Array]:
    """A batch as the columns of a table: one row an example; without those that the task does not use."""
    values = {
        "inputs": _transposed(batch.inputs) if len(batch.inputs) else None,
        "tokens": _transposed(batch.tokens),
        "context": batch.context,
        "targets": _transposed(batch.targets) if per_step else batch.targets,
        "length": batch.lengths,
        "target_length": batch.target_lengths,
        "counted": _transposed(batch.counted),
    }
    return {key: value for key, value in values.items() if value is not None}


def _features(columns: dict[str, Array]) -> datasets.Features:
    def feature(column: Array) -> Any:
        kind = str(column.dtype)
        if column.ndim == 3:
            return datasets.Array2D(shape=column.shape[1:], dtype=kind)
        return datasets.Value(kind) if column.ndim == 1 else datasets.List(datasets.Value(kind), column.shape[1])

    return datasets.Features({key: feature(column) for key, column in columns.items()})


def _batch(table: datasets.Dataset, per_step: bool) -> Batch:
    """The whole table as one time-major batch."""
    values = table.with_format("numpy")[:]

    def time_major(name: str) -> Array | None:
        return np.ascontiguousarray(values[name].swapaxes(0, 1)) if name in values else None

    inputs, targets = time_major("inputs"), time_major("targets") if per_step else values["targets"]
    assert targets is not None
    return Batch(
        inputs=np.zeros((0, len(table), 0), np.float32) if inputs is None else inputs,
        targets=targets,
        lengths=values.get("length"),
        counted=time_major("counted"),
        tokens=time_major("tokens"),
        context=values.get("context"),
        target_lengths=values.get("target_length"),
    )


def part(batch: Batch, start: int, stop: int, per_step: bool) -> Batch:
    """The examples ``start .. stop - 1`` of a batch."""

    def rows(values: Array | None) -> Array | None:
        return None if values is None else values[start:stop]

    def columns(values: Array | None) -> Array | None:
        return None if values is None else values[:, start:stop]

    return Batch(
        inputs=batch.inputs[:, start:stop],
        targets=batch.targets[:, start:stop] if per_step else batch.targets[start:stop],
        lengths=rows(batch.lengths),
        counted=columns(batch.counted),
        tokens=columns(batch.tokens),
        context=rows(batch.context),
        target_lengths=rows(batch.target_lengths),
    )
