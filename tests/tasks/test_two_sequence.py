"""The two-sequence problem: signal, noise and answers as published."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, Task

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed


def two(**options: object) -> Task:
    return TaskSpec(name="two-sequence", **options).build()


def draw(task: Task, size: int = 4000, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def normal(values: np.ndarray, mean: float, variance: float) -> bool:
    return bool(stats.kstest(values, stats.norm(mean, variance**0.5).cdf).pvalue > UNLIKELY)


@pytest.mark.parametrize("shown", [1, 3])
@pytest.mark.parametrize("variant", ["3a", "3b", "3c"])
def test_signal_then_noise(variant: str, shown: int) -> None:
    batch = draw(two(variant=variant, informative=shown, length=30))
    values, exists = batch.inputs[..., 0], batch.exists()
    middle = 0.5
    first_class = batch.targets[:, 0] > middle
    if variant == "3c":
        first_class = values[0] > 0
    head, tail = values[:shown], values[shown:][exists[shown:]]
    assert normal(tail, 0, 0.2)
    if variant == "3b":
        assert normal(head[:, first_class].ravel(), 1, 0.2)
        assert normal(head[:, ~first_class].ravel(), -1, 0.2)
    else:
        assert (head[:, first_class] == 1).all()
        assert (head[:, ~first_class] == -1).all()
    assert stats.binomtest(int(first_class.sum()), batch.size).pvalue > UNLIKELY
    assert not values[~exists].any()
    counts = np.bincount(batch.lengths)[30:]
    assert counts.size == 4  # 30 ... 33
    assert stats.chisquare(counts).pvalue > UNLIKELY


def test_targets_of_3a_and_3b_are_one_and_zero() -> None:
    for variant in ("3a", "3b"):
        assert set(np.unique(draw(two(variant=variant)).targets)) == {0, 1}


def test_targets_of_3c_are_noisy_with_variance_a_tenth() -> None:
    batch = draw(two(variant="3c"), 20_000)
    one = batch.inputs[0, :, 0] > 0
    assert normal(batch.targets[one, 0], 0.2, 0.1)
    assert normal(batch.targets[~one, 0], 0.8, 0.1)


@pytest.mark.parametrize(("shown", "share"), [(1, 0.0127), (3, 0.0000539)])
def test_what_cannot_be_known_in_3b(shown: int, share: float) -> None:
    """The sign of the sum is wrong for Phi(-sqrt(5N)); no other guess is wrong more rarely."""
    assert stats.norm.cdf(-((5 * shown) ** 0.5)) == pytest.approx(share, rel=5e-3)
    task = two(variant="3b", informative=shown, length=5)
    batch = draw(task, 200_000)
    wrong = 1 - task.measure(task.oracle(batch), batch)["accuracy"]
    assert abs(wrong - share) < 4 * (share / batch.size) ** 0.5


def test_3b_posterior_is_logistic_in_ten_times_the_sum() -> None:
    batch = draw(two(variant="3b", informative=1, length=5), 200_000)
    values = batch.inputs[0, :, 0]
    near = np.abs(values - 0.1) < 0.02
    expected = 1 / (1 + np.exp(-10 * values[near]))
    assert abs(batch.targets[near].mean() - expected.mean()) < 4 * (0.25 / near.sum()) ** 0.5


@pytest.mark.parametrize(("variant", "errors"), [("3a", 0.2), ("3b", 0.2), ("3c", 0.1)])
def test_errors_are_held_against_the_noise_free_target(variant: str, errors: float) -> None:
    task = two(variant=variant)
    batch = draw(task, 2)
    measured = task.measure(task.oracle(batch) + np.array([[errors - 0.01], [errors + 0.01]]), batch)
    assert measured["accuracy"] == 0.5
    assert measured["absolute_error"] == pytest.approx(errors)


@pytest.mark.parametrize(("variant", "baseline"), [("3a", 0.5), ("3b", 0.5), ("3c", 0.3)])
def test_baseline(variant: str, baseline: float) -> None:
    assert two(variant=variant).baseline().value == pytest.approx(baseline)


@pytest.mark.parametrize(
    ("variant", "error", "wrong", "solved"),
    [
        ("3a", 0.0099, 0.003, True),
        ("3a", 0.0101, 0.0, False),
        ("3a", 0.005, 0.004, False),
        ("3b", 0.039, 0.023, True),
        ("3b", 0.039, 0.0235, False),
        ("3c", 0.0149, 0.003, True),
        ("3c", 0.0151, 0.0, False),
    ],
)
def test_solved_by_the_published_rules(variant: str, error: float, wrong: float, solved: bool) -> None:
    assert two(variant=variant).solved({"absolute_error": error, "accuracy": 1 - wrong}) is solved


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 2}, "informative should be at most the length, 2, not 3"),
        ({"informative": 0}, "informative: .*greater than or equal to 1"),
        ({"variant": "3"}, "variant: .*'3a', '3b' or '3c'"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'two-sequence': .*{sentence}") as caught:
        TaskSpec(name="two-sequence", **options)
    assert "\n" not in str(caught.value)
