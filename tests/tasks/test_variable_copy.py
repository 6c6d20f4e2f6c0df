"""Variable copy: the draws, the layout and the mean cost of a sequence."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy import special, stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def copying(**options: object) -> Task:
    return TaskSpec(name="variable-copy", **options).build()


def draw(task: Task, size: int = 200, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def gaps(batch: Batch, symbols: int, delimiter: int) -> Array:
    return (batch.inputs == delimiter).argmax(0) - symbols


@pytest.mark.parametrize(("length", "symbols", "alphabet"), [(1, 1, 2), (5, 3, 4), (40, 10, 8)])
def test_layout_written_out(length: int, symbols: int, alphabet: int) -> None:
    batch = draw(copying(length=length, symbols=symbols, alphabet=alphabet))
    assert batch.steps == length + 2 * symbols + 1
    for b, gap in enumerate(gaps(batch, symbols, alphabet + 1)):
        data, padding = batch.inputs[:symbols, b].tolist(), [0] * (length - gap)
        assert 1 <= gap <= length
        assert all(1 <= symbol <= alphabet for symbol in data)
        assert batch.inputs[:, b].tolist() == data + [0] * gap + [alphabet + 1] + [0] * symbols + padding
        assert batch.targets[:, b].tolist() == [0] * (gap + symbols + 1) + data + padding
        assert batch.lengths[b] == gap + 2 * symbols + 1


def test_gaps_are_uniform_and_independent_of_the_uniform_symbols() -> None:
    batch = draw(copying(length=7, symbols=2, alphabet=3), 40_000)
    joint = np.zeros((7, 3, 3))
    np.add.at(joint, (gaps(batch, 2, 4) - 1, *(batch.inputs[:2] - 1)), 1)
    assert stats.chisquare(joint, axis=None).pvalue > UNLIKELY


def test_signature_is_that_of_copy_memory() -> None:
    assert copying().signature == TaskSpec(name="copy-memory").build().signature
    signature = copying(alphabet=5).signature
    assert (signature.input, signature.outputs, signature.mapping) == (Tokens(7), 6, MappingKind.LABELLING)


@pytest.mark.parametrize(("length", "printed"), [(100, 0.29083), (500, 0.07659), (1000, 0.03987)])
def test_baseline_in_numbers(length: int, printed: float) -> None:
    assert copying(length=length).baseline().value == pytest.approx(printed, abs=5e-6)


def test_baseline_counts_every_gap_once() -> None:
    lengths = [gap + 2 * 3 + 1 for gap in range(1, 10)]
    expected = len(lengths) * 3 * log(4) / sum(lengths)
    assert copying(length=9, symbols=3, alphabet=4).baseline().value == pytest.approx(expected)


def test_cross_entropy_is_over_the_existing_steps() -> None:
    task = copying(length=8, symbols=2)
    batch = draw(task, 6)
    outputs = np.random.default_rng(1).normal(size=(batch.steps, 6, 9))
    logs = special.log_softmax(outputs, axis=-1)
    each = [-logs[t, b, batch.targets[t, b]] for b in range(6) for t in range(batch.lengths[b])]
    assert task.measure(outputs, batch)["cross_entropy"] == pytest.approx(np.mean(each))


def test_accuracy_is_over_the_copied_symbols_alone() -> None:
    task = copying(length=5, symbols=2)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    end = batch.lengths[0]
    outputs[: end - 2, 0] = np.random.default_rng(1).normal(size=(end - 2, 9)) * 50
    outputs[end:, 0] = np.nan
    assert task.measure(outputs, batch)["accuracy"] == 1
    outputs[end - 1, 0] = [100, *[0] * 8]  # a blank where a symbol is due
    assert task.measure(outputs, batch)["accuracy"] == 1 - 1 / 8


def test_solved_below_a_share_of_the_baseline() -> None:
    task = copying(length=100)
    assert task.solved({"cross_entropy": 0.0290, "accuracy": 0.9})
    assert not task.solved({"cross_entropy": 0.0291, "accuracy": 1.0})
    assert "0.02908" in task.criterion


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 0}, "length: .*greater than or equal to 1"),
        ({"symbols": 0}, "symbols: .*greater than or equal to 1"),
        ({"alphabet": 1}, "alphabet: .*greater than or equal to 2"),
        ({"layout": "bai"}, "no field 'layout'"),
        ({"solved_fraction": 1}, "solved_fraction: .*less than 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'variable-copy': .*{sentence}") as caught:
        TaskSpec(name="variable-copy", **options)
    assert "\n" not in str(caught.value)


def test_description_leaves_the_padding_out() -> None:
    inputs = np.array([[3, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0]]).T
    targets = np.array([[0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0]]).T
    text = copying(length=6, symbols=2).describe(Batch(inputs, targets, np.array([9])), 0)
    assert text == "inputs   3 1 ·×4 | · ·\ntargets  ·×7 3 1"
