"""Every built-in task, with its default options and with every choice among them, through the shipped suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest

from benchmarks import quickstarts
from longlag import registry
from longlag.spec import TaskSpec
from longlag.task import Batch, Task
from longlag.testing import TaskConformance
from longlag.testing.tasks import draw, same
from longlag_tasks.adding import Adding
from tests.tasks import corpora
from tests.tasks.packages import lacking
from tests.tasks.small import SMALL


def cases() -> Iterator[Any]:
    """Every task that longlag brings, with its defaults and with each other value of its options that are a choice."""
    for name in registry.names("task"):
        if not registry.origin("task", name).startswith("longlag "):
            continue
        small = SMALL.get(name, {})
        default = TaskSpec(name=name, **small)
        yield pytest.param(default, id=name)
        for field, info in registry.load("task", name).Options.model_fields.items():
            for choice in get_args(info.annotation) if get_origin(info.annotation) is Literal else ():
                spec = TaskSpec(name=name, **{**small, field: choice})
                if spec != default:
                    yield pytest.param(spec, id=f"{name}-{choice}")


@pytest.fixture(params=cases())
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TaskSpec:
    given: TaskSpec = request.param
    if missing := lacking(given.build()):
        pytest.skip(missing)
    if given.name != "speech-corpus":  # the one task that has no data of its own
        return given
    make = corpora.MAKERS[given.options["layout"]]
    return TaskSpec(name=given.name, **{**given.options, "path": str(make(tmp_path_factory.mktemp("corpus") / "it"))})


@pytest.fixture
def task(spec: TaskSpec) -> Task:
    return spec.build()


class TestBuiltIn(TaskConformance):
    @pytest.fixture
    def task(self, spec: TaskSpec) -> Task:
        return spec.build()


def test_a_spelled_out_default_is_the_same_spec(spec: TaskSpec) -> None:
    again = TaskSpec(name=spec.name, **spec.options)
    assert again.model_dump_json() == spec.model_dump_json()
    assert same(draw(again.build()), draw(spec.build()))


def test_two_tasks_built_alike_draw_alike(spec: TaskSpec) -> None:
    one, other = spec.build(), spec.build()
    draw(one, seed=1)
    assert same(draw(one, seed=2), draw(other, seed=2))


def test_page_names_every_option_choice_and_metric(spec: TaskSpec, task: Task) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks" / f"{spec.name}.md").read_text(encoding="utf-8")
    fields = task.Options.model_fields
    choices = [c for f in fields.values() if get_origin(f.annotation) is Literal for c in get_args(f.annotation)]
    for word in (*fields, *choices, *(metric.name for metric in task.metrics)):
        assert f"`{word}`" in page
    assert f"longlag run {spec.name} " in page


@pytest.mark.parametrize("cell", quickstarts.CELLS)
@pytest.mark.parametrize("name", [name for name in quickstarts.tasks(None) if name != "speech-corpus"])
def test_the_first_command_of_a_page_runs_with_either_cell(name: str, cell: str) -> None:
    """Its fields make a run; that it beats the trivial predictor is measured by ``benchmarks.quickstarts``."""
    if missing := lacking(TaskSpec(name=name).build()):
        pytest.skip(missing)
    words = quickstarts.command(name)
    assert words[0] == name and words[1] == "--cell"
    spec = quickstarts.quick_start(name, cell)
    assert (spec.task.name, spec.cell.name, spec.seed) == (name, cell, 0)


def test_the_suite_notices_loops_over_examples_and_splits_that_share() -> None:
    class Looping(Adding):
        def sample(self, rng: np.random.Generator, size: int) -> Batch:
            each = [super(Looping, self).sample(rng, 1) for _ in range(size)]
            return Batch(np.concatenate([b.inputs for b in each], 1), np.concatenate([b.targets for b in each]))

    class Leaking(Adding):
        def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
            return self.sample(np.random.default_rng(0), size)

    suite = TaskConformance()
    suite.test_drawing_does_not_loop_over_examples(Adding())
    with pytest.raises(AssertionError, match="instructions for 40 examples"):
        suite.test_drawing_does_not_loop_over_examples(Looping())
    suite.test_splits_are_fixed_and_apart(Adding())
    with pytest.raises(AssertionError):
        suite.test_splits_are_fixed_and_apart(Leaking())
