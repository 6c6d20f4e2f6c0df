"""What every task must do, whatever it asks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pydantic import ValidationError

from longlag.models import Tensors, loss
from longlag.task import Array, Batch, MappingKind, Mixed, NoInput, Reals, Task, Tokens

SIZE = 37  # of no other dimension
PARTS = ("inputs", "targets", "lengths", "counted", "tokens", "context", "target_lengths")


def draw(task: Task, seed: int = 0, size: int = SIZE) -> Batch:
    """Sequences from a seed."""
    return task.sample(np.random.default_rng(seed), size)


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in every part."""
    pairs = [(getattr(one, part), getattr(other, part)) for part in PARTS]
    return all((a is None and b is None) or np.array_equal(a, b) for a, b in pairs)


def blinded(batch: Batch, inputs: bool = False) -> Batch:
    """The batch without its targets, or without its inputs as well; shapes and lengths stay."""

    def empty(values: Array | None) -> Array | None:
        return values if values is None or not inputs else np.zeros_like(values)

    return Batch(
        inputs=np.zeros_like(batch.inputs) if inputs else batch.inputs,
        targets=np.zeros_like(batch.targets),
        lengths=batch.lengths,
        counted=batch.counted,
        tokens=empty(batch.tokens),
        context=empty(batch.context),
        target_lengths=batch.target_lengths,
    )


def measured(task: Task, outputs: Array, batch: Batch) -> dict[str, float]:
    """The metrics of outputs, and those of the oracle's free answer where the mapping has one."""
    answer = task.oracle_answer(batch)
    return dict(task.measure(outputs, batch)) | (dict(task.judge(answer, batch)) if answer is not None else {})


def check_symbols(values: Array, shape: tuple[int, ...], symbols: int) -> None:
    """Whole numbers from 0 to ``symbols - 1`` in that shape."""
    assert values.shape == shape and values.dtype == np.int64
    assert values.min() >= 0 and values.max() < symbols


def sequences(batch: Batch, task: Task) -> set[bytes]:
    """Every example as bytes, without its padding."""
    found = set()
    for b in range(batch.size):
        steps = batch.steps if batch.lengths is None else int(batch.lengths[b])
        answer = len(batch.targets) if batch.target_lengths is None else int(batch.target_lengths[b])
        target = batch.targets[:answer, b] if task.signature.per_step else batch.targets[b]
        parts = [batch.inputs[:steps, b], target]
        parts += [batch.tokens[:steps, b]] if batch.tokens is not None else []
        parts += [batch.context[b]] if batch.context is not None else []
        found.add(b"|".join(part.tobytes() for part in parts))
    return found


def interpreted(call: Callable[[], object]) -> int:
    """Instructions that Python itself interprets in a call: a count of loops that no other load disturbs."""
    call()  # what is prepared once
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


class TaskConformance:
    """Subclass it and give a fixture ``task`` that returns a `Task`."""

    @pytest.fixture
    def task(self) -> Task:
        raise NotImplementedError("give a fixture 'task'")

    def test_options_are_frozen_described_and_refuse_unknown_fields(self, task: Task) -> None:
        undescribed = [name for name, field in task.Options.model_fields.items() if not field.description]
        assert not undescribed
        with pytest.raises(ValidationError, match="frozen"):
            setattr(task.options, next(iter(task.Options.model_fields)), 1)
        with pytest.raises(ValidationError, match="no_such_option"):
            task.Options.model_validate({"no_such_option": 1})

    @pytest.mark.parametrize("size", [1, SIZE])
    def test_shapes_and_types_are_those_of_the_signature(self, task: Task, size: int) -> None:
        signature, batch = task.signature, draw(task, size=size)
        match signature.input:
            case Reals(features):
                assert batch.inputs.shape == (batch.steps, size, features) and batch.inputs.dtype == np.float32
            case Tokens(symbols):
                check_symbols(batch.inputs, (batch.steps, size), symbols)
            case Mixed(features, symbols):
                assert batch.inputs.shape == (batch.steps, size, features) and batch.inputs.dtype == np.float32
                assert batch.tokens is not None
                check_symbols(batch.tokens, (batch.steps, size), symbols)
            case NoInput():
                assert batch.inputs.shape == (0, size, 0)
        if signature.context:
            assert batch.context is not None
            assert batch.context.shape == (size, signature.context) and batch.context.dtype == np.float32
        where = (len(batch.targets), size) if signature.per_step else (size,)
        own = signature.loss == "ctc" or signature.mapping not in (MappingKind.CLASSIFICATION, MappingKind.LABELLING)
        if signature.per_step and not own:
            assert len(batch.targets) == batch.steps
        if signature.loss in ("cross-entropy", "ctc"):
            check_symbols(batch.targets, where, signature.outputs)
        else:
            assert batch.targets.shape == (*where, signature.outputs) and batch.targets.dtype == np.float32
        given = (batch.steps, size) if signature.loss == "ctc" else where
        for outputs in (task.trivial(batch), task.oracle(batch)):
            assert outputs.shape == (*given, signature.values)
            assert np.isfinite(outputs).all()

    def test_lengths_and_counted_steps_are_right_and_padding_is_zero(self, task: Task) -> None:
        batch = draw(task, size=500)
        exists, answered = batch.exists(), batch.answered()
        for lengths, longest in ((batch.lengths, batch.steps), (batch.target_lengths, len(batch.targets))):
            if lengths is not None:
                assert lengths.dtype == np.int64 and lengths.shape == (500,)
                assert lengths.min() >= 1 and lengths.max() <= longest
        if exists is not None:
            assert not batch.inputs[~exists].any()
            assert batch.tokens is None or not batch.tokens[~exists].any()
        if answered is not None:
            assert not batch.targets[~answered].any()
        if batch.counted is not None:
            assert batch.counted.dtype == np.bool_ and batch.counted.shape == (batch.steps, 500)
            assert batch.counted.any(axis=0).all()
            assert exists is None or not batch.counted[~exists].any()

    def test_draws_depend_on_the_given_generator_alone(self, task: Task) -> None:
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

    def test_oracle_is_perfect_from_the_inputs_alone(self, task: Task) -> None:
        """Or, where targets do not follow from the inputs, better than the trivial predictor; or by hindsight."""
        batch = draw(task, size=300)
        scores = measured(task, task.oracle(batch if task.hindsight else blinded(batch)), batch)
        if not task.exact:
            assert task.score(scores) < 1
            return
        for metric in task.metrics:
            assert scores[metric.name] == pytest.approx(metric.best, abs=1e-6), metric.name
        assert task.solved(scores)
        assert task.score(scores) == pytest.approx(0, abs=1e-6)

    def test_trivial_predictor_looks_at_no_input(self, task: Task) -> None:
        batch = draw(task)
        assert np.array_equal(task.trivial(blinded(batch, inputs=True)), task.trivial(batch))

    def test_splits_are_fixed_and_apart(self, task: Task) -> None:
        """The same draws from the same generator; and what a task holds out is in one split alone."""
        validation, test = (task.split(n, np.random.default_rng(k), SIZE) for k, n in ((3, "validation"), (4, "test")))
        assert same(validation, task.split("validation", np.random.default_rng(3), SIZE))
        assert 1 <= validation.size <= SIZE and 1 <= test.size <= SIZE
        if type(task).split is not Task.split:
            parts = [sequences(batch, task) for batch in (draw(task, size=500), validation, test)]
            assert not any(one & other for one, other in itertools.combinations(parts, 2))

    def test_drawing_does_not_loop_over_examples(self, task: Task) -> None:
        """Ten times the examples take far less than ten times the steps of the interpreter; blocks of them are fine."""
        few, many = (interpreted(partial(draw, task, 0, size)) for size in (40, 400))
        assert many < 5 * few, f"{few} instructions for 40 examples, {many} for 400"

    def test_baseline_is_what_the_trivial_predictor_scores(self, task: Task) -> None:
        """Within four standard errors of the mean over forty batches of 500; exactly where the score does not vary."""
        rng, name, baseline = np.random.default_rng(11), task.metrics[0].name, task.baseline()
        found = []
        for _ in range(40):
            batch = task.sample(rng, 500)
            found.append(task.measure(task.trivial(batch), batch)[name])
        error = np.std(found, ddof=1) / np.sqrt(len(found))
        assert abs(np.mean(found) - baseline.value) < 4 * error + 1e-9
        scores = {**dict.fromkeys((m.name for m in task.metrics), 0.0), name: baseline.value}
        assert task.score(scores) == pytest.approx(1)
        assert not task.solved({**scores, **task.measure(task.trivial(batch), batch)})
        assert baseline.predictor and baseline.formula

    def test_measure_returns_the_metrics_as_plain_numbers(self, task: Task) -> None:
        batch = draw(task)
        outputs = np.random.default_rng(1).normal(size=task.trivial(batch).shape)
        scores = measured(task, outputs, batch)
        assert list(scores) == [metric.name for metric in task.metrics]
        assert all(type(value) is float and np.isfinite(value) for value in scores.values())
        assert all(metric.meaning and metric.unit for metric in task.metrics)

    def test_first_metric_is_the_loss_that_training_lowers(self, task: Task) -> None:
        batch = draw(task)
        outputs = np.random.default_rng(2).normal(size=task.trivial(batch).shape)
        name = task.metrics[0].name
        if name != task.signature.loss.replace("-", "_"):
            pytest.skip(f"the score of this task is {name}, not its loss")
        trained = loss(task.signature, torch.from_numpy(outputs), Tensors.of(batch, torch.float64, torch.device("cpu")))
        assert task.measure(outputs, batch)[name] == pytest.approx(trained.item(), rel=1e-10)

    def test_a_diverged_model_is_not_a_solution(self, task: Task) -> None:
        assert not task.solved(dict.fromkeys((metric.name for metric in task.metrics), float("nan")))

    def test_criterion_and_description_are_for_a_person(self, task: Task) -> None:
        assert any(sign.isdigit() for sign in task.criterion)
        assert any(metric.name in task.criterion for metric in task.metrics)
        batch = draw(task, size=3)
        descriptions = [task.describe(batch, index) for index in range(3)]
        targets = batch.targets.swapaxes(0, 1) if task.signature.per_step else batch.targets
        sequences = {batch.inputs[:, b].tobytes() + targets[b].tobytes() for b in range(3)}
        assert len(set(descriptions)) >= min(2, len(sequences))
        assert all(len(line) <= 110 for text in descriptions for line in text.splitlines())

    def test_predictions_can_be_shown(self, task: Task) -> None:
        batch = draw(task, size=4)
        columns = task.table(task.oracle(batch), task.oracle_answer(batch), batch)
        assert columns and all(len(column) == 4 for column in columns.values())
        figure = Figure()
        task.draw(figure.add_subplot(), task.oracle(batch), task.oracle_answer(batch), batch, 0)
