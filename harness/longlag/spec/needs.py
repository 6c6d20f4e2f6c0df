"""What a run or a study needs and reads: optional packages, found without importing them, a cell or torch; files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from longlag.errors import UserError
from longlag.packages import MissingPackage
from longlag.spec.axes import Range, Values
from longlag.spec.component import Component, SamplerSpec, TaskSpec
from longlag.spec.run import RunSpec
from longlag.spec.study import StudySpec
from longlag.specfile import assign


def require_for_run(spec: RunSpec) -> None:
    """Refuse a run, its curriculum and further splits included, whose task needs a package that is not installed.

    Raises:
        MissingPackage: naming it.
    """
    for task in _tasks_of_run(spec):
        _require(task)


def require_for_study(study: StudySpec) -> None:
    """Refuse a study one of whose tasks, or whose sampler, needs a package that is not installed.

    Raises:
        MissingPackage: naming it.
    """
    _require(study.sampler)
    for task in _tasks_of_study(study):
        _require(task)


def require_for_fields(fields: Mapping[str, Any]) -> None:
    """The same for the fields of a run or study that nobody has validated yet, which imports torch.

    Fields that are wrong are passed over: validation says what is wrong with them.

    Raises:
        MissingPackage: naming it.
    """
    try:
        if "sampler" in fields:
            _require(SamplerSpec.model_validate(fields["sampler"]))
        base = fields.get("base", fields)
        for task in _tasks(base, fields.get("space") or {}, fields.get("arms") or {}):
            _require(TaskSpec.model_validate(task))
    except MissingPackage:
        raise
    except (UserError, ValueError, TypeError, AttributeError):
        return


def read_by_run(spec: RunSpec) -> list[str]:
    """Files, folders and data sets that the tasks of a run read."""
    return _distinct(_tasks_of_run(spec))


def read_by_study(study: StudySpec) -> list[str]:
    """Files, folders and data sets that the tasks of a study read."""
    return _distinct(_tasks_of_study(study))


def _distinct(tasks: Iterable[TaskSpec]) -> list[str]:
    return list(dict.fromkeys(name for task in tasks for name in task.reads))


def _tasks_of_run(spec: RunSpec) -> Iterator[TaskSpec]:
    yield spec.task
    for stage in spec.data.stages:
        yield spec.task_with(stage.task)
    for options in spec.data.beyond.values():
        yield spec.task_with(options)


def _tasks_of_study(study: StudySpec) -> Iterator[TaskSpec]:
    for task in _tasks(study.base, study.space, study.arms):
        yield TaskSpec.model_validate(task)


def _require(spec: Component) -> None:
    for package in spec.build().needs:
        package.require()


def _tasks(base: Mapping[str, Any], space: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
    """The task of a base run, and those that one value of an axis or an arm makes of it."""
    changes: list[tuple[str, Any]] = []
    for path, axis in space.items():
        changes += [(path, value) for value in _values(axis)]
    for fields in arms.values():
        changes += fields.items()
    if "task" in base:
        yield base["task"]
    for path, value in changes:
        if path == "task" or path.startswith("task."):
            data = dict(base)
            assign(data, path, value)
            yield data["task"]


def _values(axis: Any) -> list[Any]:
    if isinstance(axis, Range):
        return [axis.low]
    if isinstance(axis, Mapping):
        return list(axis.get("values", [axis.get("low")]))
    return axis.values if isinstance(axis, Values) else list(axis)
