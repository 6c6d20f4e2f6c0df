"""Noise-free long lags: the three published languages, symbol by symbol."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def lag(**options: object) -> Task:
    return TaskSpec(name="noise-free-lag", **options).build()


def draw(task: Task, size: int = 5, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def test_2a_has_the_two_published_sequences() -> None:
    """(y, a1 ... a_{p-1}, y) and (x, a1 ... a_{p-1}, x), here p = 5, read off inputs and targets together."""
    batch = draw(lag(length=5), 1000)
    whole = np.vstack([batch.inputs, batch.targets[-1:]])
    assert np.array_equal(whole[1:], batch.targets)
    sequences, counts = np.unique(whole.T, axis=0, return_counts=True)
    assert sequences.tolist() == [[4, 0, 1, 2, 3, 4], [5, 0, 1, 2, 3, 5]]
    assert stats.binomtest(int(counts[0]), 1000).pvalue > UNLIKELY


def test_2b_has_uniform_symbols_between() -> None:
    batch = draw(lag(variant="2b", length=5), 20_000)
    between = batch.inputs[1:]
    joint = np.zeros((4, 4, 4, 4))
    np.add.at(joint, tuple(between), 1)
    assert stats.chisquare(joint, axis=None).pvalue > UNLIKELY
    assert np.array_equal(batch.targets[:-1], batch.inputs[1:])
    assert np.array_equal(batch.targets[-1], batch.inputs[0])
    assert set(np.unique(batch.inputs[0])) == {4, 5}
    assert stats.binomtest(int((batch.inputs[0] == 4).sum()), batch.size).pvalue > UNLIKELY


@pytest.mark.parametrize(("q", "p"), [(10, None), (10, 3), (100, 50)])
def test_2c_has_the_published_language(q: int, p: int | None) -> None:
    task = lag(variant="2c", length=q, distractors=p)
    batch, p = draw(task, 20_000), p or q
    assert task.signature.input == Tokens(p + 4)
    assert task.signature.outputs == 2
    lengths, columns = batch.lengths, np.arange(batch.size)
    e, b, x = p, p + 1, p + 2
    assert (batch.inputs[0] == b).all()
    assert np.array_equal(batch.inputs[1] - x, batch.targets)
    assert stats.binomtest(int(batch.targets.sum()), batch.size).pvalue > UNLIKELY
    assert (batch.inputs[lengths - 1, columns] == e).all()
    steps = np.arange(batch.steps)[:, None]
    between = batch.inputs[(steps > 1) & (steps < lengths - 1)]
    counts = np.bincount(between)
    assert counts.size == p  # no b, e, x, y among them
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_2c_lengths_are_geometric_with_mean_q_plus_13() -> None:
    """The paper prints q + 14 for 4 + sum_k (q + k) 9^k / 10^(k+1); the sum gives q + 13, the last symbol included."""
    q = 7
    whole = draw(lag(variant="2c", length=q), 50_000).lengths + 1
    assert whole.min() == q + 4
    extra = whole - (q + 4)
    observed = np.bincount(np.minimum(extra, 30), minlength=31)
    chances = np.append(0.1 * 0.9 ** np.arange(30), 0.9**30)
    assert stats.chisquare(observed, chances * whole.size).pvalue > UNLIKELY
    assert abs(whole.mean() - (q + 13)) < 4 * whole.std() / np.sqrt(whole.size)
    assert sum((q + k) * 0.9**k / 10 for k in range(2000)) + 4 == pytest.approx(q + 13)


def test_signatures_and_counts_of_the_paper() -> None:
    """p = 100: 101 symbols in and out."""
    for variant in ("2a", "2b"):
        signature = lag(variant=variant).signature
        assert (signature.input, signature.outputs) == (Tokens(101), 101)
        assert signature.mapping is MappingKind.LABELLING
        assert draw(lag(variant=variant)).inputs.shape == (100, 5)


@pytest.mark.parametrize("variant", ["2a", "2b"])
def test_within_judges_every_step_in_2a_and_the_last_in_2b(variant: str) -> None:
    task = lag(variant=variant, length=6)
    batch = draw(task, 4)
    outputs = np.full((6, 4, 7), -30.0)
    np.put_along_axis(outputs, batch.targets[..., None], 0, axis=-1)
    assert task.measure(outputs, batch)["within"] == 1
    outputs[2, 0] = 0  # 1/7 each, in the middle
    assert task.measure(outputs, batch)["within"] == (0.75 if variant == "2a" else 1)
    outputs[-1, 1] = special.logit(0.74)  # every class, so the right one gets 1/7
    measured = task.measure(outputs, batch)
    assert measured["within"] == (0.5 if variant == "2a" else 0.75)
    assert measured["final_cross_entropy"] == pytest.approx(np.log(7) / 4, abs=1e-6)


@pytest.mark.parametrize(("variant", "bound"), [("2b", 0.25), ("2c", 0.2)])
def test_the_bound_is_on_the_absolute_error(variant: str, bound: float) -> None:
    task = lag(variant=variant, length=5)
    batch = draw(task, 2)
    classes = task.signature.outputs
    chances = np.full((2, classes), 1e-9)
    last = batch.targets if variant == "2c" else batch.targets[-1]
    chances[[0, 1], last] = [1 - bound + 0.01, 1 - bound - 0.01]
    other = np.array([next(c for c in (classes - 2, classes - 1) if c != target) for target in last])
    chances[[0, 1], other] = 1 - chances[[0, 1], last]
    outputs = np.log(chances) if variant == "2c" else np.tile(np.log(chances), (5, 1, 1))
    assert task.measure(outputs, batch)["within"] == 0.5


def test_2b_oracle_is_the_entropy_between() -> None:
    task = lag(variant="2b", length=6)
    batch = draw(task, 3)
    likelihood = special.log_softmax(task.oracle(batch).astype(float), axis=-1)
    picked = np.take_along_axis(likelihood, batch.targets[..., None], -1)[..., 0]
    assert picked[:-1] == pytest.approx(-np.log(5))
    assert picked[-1] == pytest.approx(0, abs=1e-6)


def test_solved_asks_for_all() -> None:
    metrics = {"final_cross_entropy": 0.0, "accuracy": 1.0}
    assert lag().solved({**metrics, "within": 1.0})
    assert not lag().solved({**metrics, "within": 0.999})
    assert lag(solved_share=0.99).solved({**metrics, "within": 0.999})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 1}, "length: .*greater than or equal to 2"),
        ({"distractors": 5}, "distractors belongs to the variant '2c'"),
        ({"variant": "2d"}, "variant: .*'2a', '2b' or '2c'"),
        ({"variant": "2c", "distractors": 0}, "distractors: .*greater than or equal to 1"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'noise-free-lag': .*{sentence}") as caught:
        TaskSpec(name="noise-free-lag", **options)
    assert "\n" not in str(caught.value)


def test_description_names_the_symbols() -> None:
    batch = Batch(np.array([[3, 0, 1, 2]]).T, np.array([[0, 1, 2, 3]]).T)
    text = lag(length=4).describe(batch, 0)
    assert text.startswith("inputs   x 1 2 3\ntargets  x")
