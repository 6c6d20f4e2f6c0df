"""What every built-in task must do: each with its default options, and with every choice among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness import registry
from harness.models.losses import loss
from harness.spec import TaskSpec
from harness.task import Batch, MappingKind, Reals, Task
from harness.training.data import Tensors

SIZE = 37  # of no other dimension


def cases() -> Iterator[Any]:
    """Every task that longlag brings, as it is and with every value of its options that are a choice."""
    for name in registry.names("task"):
        if not registry.origin("task", name).startswith("longlag "):
            continue
        yield pytest.param(TaskSpec(name=name), id=name)
        for field, info in registry.load("task", name).Options.model_fields.items():
            if get_origin(info.annotation) is Literal:
                for choice in get_args(info.annotation):
                    yield pytest.param(TaskSpec(name=name, **{field: choice}), id=f"{name}-{choice}")


@pytest.fixture(params=cases())
def spec(request: pytest.FixtureRequest) -> TaskSpec:
    return request.param


@pytest.fixture
def task(spec: TaskSpec) -> Task:
    return spec.build()


def draw(task: Task, seed: int = 0, size: int = SIZE) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, part), getattr(other, part))
        for part in ("inputs", "targets", "lengths", "counted")
        if getattr(one, part) is not None
    )


def test_options_are_frozen_described_and_refuse_unknown_fields(task: Task) -> None:
    undescribed = [name for name, field in task.Options.model_fields.items() if not field.description]
    assert not undescribed
    with pytest.raises(ValidationError, match="frozen"):
        setattr(task.options, next(iter(task.Options.model_fields)), 1)
    with pytest.raises(ValidationError, match="no_such_option"):
        task.Options.model_validate({"no_such_option": 1})


def test_a_spelled_out_default_is_the_same_spec(spec: TaskSpec) -> None:
    again = TaskSpec(name=spec.name, **spec.options)
    assert again.model_dump_json() == spec.model_dump_json()
    assert same(draw(again.build()), draw(spec.build()))


@pytest.mark.parametrize("size", [1, SIZE])
def test_shapes_and_types_are_those_of_the_signature(task: Task, size: int) -> None:
    signature, batch = task.signature, draw(task, size=size)
    steps = batch.steps
    if isinstance(signature.input, Reals):
        assert batch.inputs.shape == (steps, size, signature.input.size)
        assert batch.inputs.dtype == np.float32
    else:
        assert batch.inputs.shape == (steps, size)
        assert batch.inputs.dtype == np.int64
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < signature.input.size
    by_example = signature.mapping is MappingKind.CLASSIFICATION
    where = (size,) if by_example else (steps, size)
    if signature.loss == "mse":
        assert batch.targets.shape == (*where, signature.outputs)
        assert batch.targets.dtype == np.float32
    else:
        assert batch.targets.shape == where
        assert batch.targets.dtype == np.int64
        assert batch.targets.min() >= 0
        assert batch.targets.max() < signature.outputs
    for outputs in (task.trivial(batch), task.oracle(batch)):
        assert outputs.shape == (*where, signature.outputs)
        assert np.isfinite(outputs).all()


def test_lengths_and_counted_steps_are_right_and_padding_is_zero(task: Task) -> None:
    batch = draw(task, size=500)
    exists = batch.exists()
    if batch.lengths is not None and exists is not None:
        assert batch.lengths.dtype == np.int64
        assert batch.lengths.shape == (500,)
        assert batch.lengths.min() >= 1
        assert batch.lengths.max() <= batch.steps
        assert not batch.inputs[~exists].any()
    if batch.counted is not None:
        assert batch.counted.dtype == np.bool_
        assert batch.counted.shape == (batch.steps, 500)
        assert batch.counted.any(axis=0).all()
        assert exists is None or not batch.counted[~exists].any()


def test_draws_depend_on_the_given_generator_alone(task: Task) -> None:
    before = np.random.get_state(legacy=False)["state"]
    first = draw(task, seed=5)
    np.random.default_rng(9).random(1000)  # another generator at work in between
    assert same(first, draw(task, seed=5))
    assert not same(first, draw(task, seed=6))
    rng = np.random.default_rng(5)
    assert same(first, task.sample(rng, SIZE))
    assert not same(first, task.sample(rng, SIZE))
    after = np.random.get_state(legacy=False)["state"]
    assert np.array_equal(before["key"], after["key"])
    assert before["pos"] == after["pos"]


def test_two_tasks_built_alike_draw_alike(spec: TaskSpec) -> None:
    one, other = spec.build(), spec.build()
    draw(one, seed=1)
    assert same(draw(one, seed=2), draw(other, seed=2))


def test_oracle_is_perfect_from_the_inputs_alone(task: Task) -> None:
    batch = draw(task, size=300)
    blind = Batch(batch.inputs, np.zeros_like(batch.targets), batch.lengths, batch.counted)
    measured = task.measure(task.oracle(blind), batch)
    for metric in task.metrics:
        assert measured[metric.name] == pytest.approx(metric.best, abs=1e-6)
    assert task.solved(measured)
    assert task.score(measured) == pytest.approx(0, abs=1e-6)


def test_trivial_predictor_looks_at_no_input(task: Task) -> None:
    batch = draw(task)
    blind = Batch(np.zeros_like(batch.inputs), np.zeros_like(batch.targets), batch.lengths, batch.counted)
    assert np.array_equal(task.trivial(blind), task.trivial(batch))


def test_baseline_is_what_the_trivial_predictor_scores(task: Task) -> None:
    """Within four standard errors of the mean over forty batches of 500; exactly where the score does not vary."""
    rng, name, baseline = np.random.default_rng(11), task.metrics[0].name, task.baseline()
    scores = []
    for _ in range(40):
        batch = task.sample(rng, 500)
        scores.append(task.measure(task.trivial(batch), batch)[name])
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    assert abs(np.mean(scores) - baseline.value) < 4 * error + 1e-9
    measured = {**dict.fromkeys((m.name for m in task.metrics), 0.0), name: baseline.value}
    assert task.score(measured) == pytest.approx(1)
    assert not task.solved(task.measure(task.trivial(batch), batch))
    assert baseline.predictor
    assert baseline.formula


def test_measure_returns_the_metrics_as_plain_numbers(task: Task) -> None:
    batch = draw(task)
    outputs = np.random.default_rng(1).normal(size=task.trivial(batch).shape)
    measured = task.measure(outputs, batch)
    assert list(measured) == [metric.name for metric in task.metrics]
    assert all(type(value) is float and np.isfinite(value) for value in measured.values())
    assert all(metric.meaning and metric.unit for metric in task.metrics)


def test_first_metric_is_the_loss_that_training_lowers(task: Task) -> None:
    batch = draw(task)
    outputs = np.random.default_rng(2).normal(size=task.trivial(batch).shape)
    tensors = Tensors.of(batch, torch.float64, torch.device("cpu"))
    trained = loss(task.signature, torch.from_numpy(outputs), tensors.targets, tensors.counted)
    name = task.metrics[0].name
    if name != task.signature.loss.replace("-", "_"):
        pytest.skip(f"the score of this task is {name}, not its loss")
    assert task.measure(outputs, batch)[name] == pytest.approx(trained.item(), rel=1e-10)


def test_a_diverged_model_is_not_a_solution(task: Task) -> None:
    assert not task.solved(dict.fromkeys((metric.name for metric in task.metrics), float("nan")))


def test_criterion_and_description_are_for_a_person(task: Task) -> None:
    assert any(sign.isdigit() for sign in task.criterion)
    assert task.metrics[0].name in task.criterion or task.metrics[1].name in task.criterion
    batch = draw(task, size=3)
    told = [task.describe(batch, index) for index in range(3)]
    assert len(set(told)) == 3
    assert all(len(line) <= 110 for text in told for line in text.splitlines())
    assert all("targets" in Task.describe(task, batch, index) for index in range(3))


def test_page_names_every_option_choice_and_metric(spec: TaskSpec, task: Task) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks" / f"{spec.name}.md").read_text(encoding="utf-8")
    fields = task.Options.model_fields
    choices = [c for f in fields.values() if get_origin(f.annotation) is Literal for c in get_args(f.annotation)]
    for word in (*fields, *choices, *(metric.name for metric in task.metrics)):
        assert f"`{word}`" in page
    assert f"longlag run {spec.name} " in page
