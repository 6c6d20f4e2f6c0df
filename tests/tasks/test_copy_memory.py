"""Copy memory: the published layouts to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, MappingKind, Reals, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed
LAYOUTS = ["arjovsky", "bai", "lezcano"]


def copying(**options: object) -> Task:
    return TaskSpec(name="copy-memory", **options).build()


def draw(task: Task, size: int = 5, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def digits(batch: Batch) -> Array:
    """The inputs as integers ``[T, B]``, whatever the layout."""
    return batch.inputs[..., 0].astype(int) if batch.inputs.ndim == 3 else batch.inputs


@pytest.mark.parametrize(
    ("layout", "length", "tail"),
    [
        ("arjovsky", 4, [0, 0, 0, 9, 0, 0]),
        ("bai", 4, [0, 0, 0, 9, 9, 9]),
        ("lezcano", 4, [0, 0, 0, 0, 9, 0]),
        ("arjovsky", 1, [9, 0, 0]),
        ("bai", 1, [9, 9, 9]),
        ("lezcano", 1, [0, 9, 0]),
    ],
)
def test_layout_written_out(layout: str, length: int, tail: list[int]) -> None:
    batch = draw(copying(layout=layout, length=length, symbols=2))
    for b in range(batch.size):
        data = batch.targets[-2:, b].tolist()
        assert digits(batch)[:, b].tolist() == data + tail
        assert batch.targets[:, b].tolist() == [0] * (length + 2) + data
        assert all(1 <= symbol <= 8 for symbol in data)


@pytest.mark.parametrize("length", [1, 100, 1000])
def test_published_counts(length: int) -> None:
    """Ten symbols, T + 20 steps: one delimiter before ten blanks; eleven nines at the end; one blank more."""
    steps, place = length + 20, 10 + length - 1
    arjovsky, bai, lezcano = (digits(draw(copying(layout=layout, length=length))) for layout in LAYOUTS)
    assert arjovsky.shape == bai.shape == lezcano.shape == (steps, 5)
    for inputs in (arjovsky, bai, lezcano):
        assert inputs[:10].min() >= 1
        assert inputs[:10].max() <= 8
        assert not inputs[10:place].any()
    assert (arjovsky[place] == 9).all()
    assert not arjovsky[-10:].any()
    assert (bai[-11:] == 9).all()
    assert not lezcano[place].any()
    assert (lezcano[place + 1] == 9).all()
    assert not lezcano[-9:].any()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("length", "symbols", "alphabet"), [(100, 10, 8), (7, 3, 5), (1, 1, 2)])
def test_every_symbol_is_due_length_plus_symbols_later(layout: str, length: int, symbols: int, alphabet: int) -> None:
    task = copying(layout=layout, length=length, symbols=symbols, alphabet=alphabet)
    batch = draw(task)
    lag = length + symbols
    assert batch.steps == length + 2 * symbols
    assert np.array_equal(batch.targets[lag:], digits(batch)[:symbols])
    assert not batch.targets[:lag].any()
    assert digits(batch).max() == alphabet + 1  # the delimiter


def test_signatures_are_the_published_ones() -> None:
    for layout in ("arjovsky", "lezcano"):
        signature = copying(layout=layout).signature
        assert (signature.input, signature.outputs) == (Tokens(10), 9)
    signature = copying(layout="bai").signature
    assert (signature.input, signature.outputs) == (Reals(1), 10)
    assert signature.mapping is MappingKind.LABELLING
    assert signature.loss == "cross-entropy"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_symbols_are_uniform_and_independent(layout: str) -> None:
    data = draw(copying(layout=layout, length=2, symbols=3), 20_000).targets[-3:]
    joint = np.zeros((8, 8, 8))
    np.add.at(joint, tuple(data - 1), 1)
    assert stats.chisquare(joint, axis=None).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("length", "printed"),
    [(100, 0.17329), (200, 0.09452), (300, 0.06498), (500, 0.03999), (1000, 0.02039), (2000, 0.01029)],
)
def test_baseline_is_that_of_the_papers(length: int, printed: float) -> None:
    assert copying(length=length).baseline().value == pytest.approx(printed, abs=5e-6)
    assert copying(length=length, layout="bai").baseline().value == pytest.approx(printed, abs=5e-6)


def test_baseline_in_general_is_the_best_without_memory() -> None:
    """No logits that are the same for every sequence do better: the entropy of each step's target, averaged."""
    task = copying(length=6, symbols=4, alphabet=3)
    entropies = [0.0] * 10 + [float(special.entr(np.full(3, 1 / 3)).sum())] * 4
    assert task.baseline().value == pytest.approx(np.mean(entropies))


@pytest.mark.parametrize("scale", [1, 1e4])
def test_cross_entropy_is_over_all_steps_and_stable(scale: float) -> None:
    task = copying(length=5, symbols=2)
    batch = draw(task, 7)
    outputs = scale * np.random.default_rng(1).normal(size=(9, 7, 9))
    logs = special.log_softmax(outputs, axis=-1)
    expected = -np.mean([logs[t, b, batch.targets[t, b]] for t in range(9) for b in range(7)])
    assert task.measure(outputs, batch)["cross_entropy"] == pytest.approx(expected)


def test_accuracy_is_over_the_copied_symbols_alone() -> None:
    task = copying(length=5, symbols=2)
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[:7] = np.random.default_rng(1).normal(size=(7, 4, 9)) * 50
    assert task.measure(outputs, batch)["accuracy"] == 1
    outputs[-1, 0] = [100, *[0] * 8]  # a blank where a symbol is due
    assert task.measure(outputs, batch)["accuracy"] == 1 - 1 / 8


def test_solved_below_a_share_of_the_baseline() -> None:
    task = copying(length=100)
    assert task.solved({"cross_entropy": 0.0173, "accuracy": 0.9})
    assert not task.solved({"cross_entropy": 0.0174, "accuracy": 1.0})
    assert "0.01733" in task.criterion
    assert not copying(length=100, solved_fraction=0.01).solved({"cross_entropy": 0.0173, "accuracy": 1.0})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 0}, "length: .*greater than or equal to 1"),
        ({"length": -3}, "length: .*greater than or equal to 1"),
        ({"length": "long"}, "length: .*integer"),
        ({"symbols": 0}, "symbols: .*greater than or equal to 1"),
        ({"alphabet": 1}, "alphabet: .*greater than or equal to 2"),
        ({"layout": "arjowsky"}, "layout: .*'arjovsky', 'bai' or 'lezcano'"),
        ({"lenght": 5}, "no field 'lenght'; did you mean 'length'"),
        ({"solved_fraction": 1}, "solved_fraction: .*less than 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'copy-memory': .*{sentence}") as caught:
        TaskSpec(name="copy-memory", **options)
    assert "\n" not in str(caught.value)


def test_description_shortens_the_lag() -> None:
    inputs = np.array([[3, 1, 0, 0, 0, 0, 9, 0, 0]]).T
    targets = np.array([[0, 0, 0, 0, 0, 0, 0, 3, 1]]).T
    text = copying(length=5, symbols=2).describe(Batch(inputs, targets), 0)
    assert text == "inputs   3 1 ·×4 | · ·\ntargets  ·×7 3 1"
