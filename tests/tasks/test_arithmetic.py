"""Arithmetic: numbers, letters and results, read back as a person would."""

from __future__ import annotations

import re
from collections import Counter
from math import log

import numpy as np
import pytest
from scipy import special, stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed
ALPHABET = "0123456789+-=.abcdefghijklmnopqrstuvwxyz"
NUMBER = r"(-?(?:0|[1-9]\d*))"


def arithmetic(**options: object) -> Task:
    return TaskSpec(name="arithmetic", **options).build()


def draw(task: Task, size: int = 300, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def texts(batch: Batch) -> list[str]:
    """The whole sequences, the first input and then all targets, once inputs and targets were seen to agree."""
    found = []
    for b, length in enumerate(batch.lengths):
        inputs, targets = batch.inputs[:length, b], batch.targets[:length, b]
        assert inputs[1:].tolist() == targets[:-1].tolist()
        found.append("".join(ALPHABET[symbol] for symbol in [inputs[0], *targets]))
    return found


def parsed(text: str) -> tuple[int, str, int, int]:
    found = re.fullmatch(rf"{NUMBER}([+-]){NUMBER}={NUMBER}\.", re.sub("[a-z]", "", text))
    assert found, text
    first, sign, second, result = found.groups()
    return int(first), sign, int(second), int(result)


@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize(("digits", "distractors"), [(1, 0), (3, 1), (8, 3), (17, 2)])
def test_every_sequence_is_a_right_calculation(digits: int, distractors: int, negative: bool) -> None:
    batch = draw(arithmetic(digits=digits, distractors=distractors, negative=negative))
    for b, text in enumerate(texts(batch)):
        first, sign, second, result = parsed(text)
        assert result == (first + second if sign == "+" else first - second)
        assert max(abs(first), abs(second)) < 10**digits
        assert negative or min(first, second) >= 0
        assert "-0" not in re.sub("[a-z]", "", text).replace("-0=", "")  # zero has no sign; "5-0=" subtracts it
        question, answer = text.split("=")
        assert re.fullmatch(rf"([^a-z][a-z]{{0,{distractors}}})+", question)
        counted = batch.counted[:, b]
        assert "".join(ALPHABET[symbol] for symbol in batch.targets[counted, b]) == answer
        assert np.flatnonzero(counted).tolist() == list(range(len(question), len(text) - 1))
        assert batch.lengths[b] == len(text) - 1


def test_the_example_of_the_paper_is_such_a_sequence() -> None:
    task = arithmetic(digits=8, distractors=3)
    text = "3e36d9-h1h39f94eeh43keg3c=-13991064."
    assert parsed(text) == (3369, "-", 13994433, -13991064)
    symbols = np.array([ALPHABET.index(symbol) for symbol in text])[:, None]
    steps = np.arange(len(text) - 1)[:, None]
    counted = steps >= text.index("=")
    batch = Batch(symbols[:-1], symbols[1:], np.array([len(steps)]), counted)
    assert task.oracle(batch)[counted[:, 0], 0].argmax(-1).tolist() == symbols[1:][counted].tolist()
    assert task.describe(batch, 0).splitlines()[1:] == ["means  3369-13994433=", "writes -13991064."]


def test_digits_signs_and_operators_are_uniform() -> None:
    calculations = [parsed(text) for text in texts(draw(arithmetic(digits=2, distractors=0), 20_000))]
    lengths = Counter((len(str(abs(first))), len(str(abs(second)))) for first, _, second, _ in calculations)
    assert stats.chisquare([lengths[a, b] for a in (1, 2) for b in (1, 2)]).pvalue > UNLIKELY
    assert stats.binomtest(sum(sign == "+" for _, sign, _, _ in calculations), 20_000).pvalue > UNLIKELY
    for place in (0, 2):
        values = Counter(calculation[place] for calculation in calculations)
        # One digit: ten numbers; two digits: ninety; each but zero in both signs.
        chances = {n: (1 / 20 if abs(n) < 10 else 1 / 180) * (0.5 if n else 1) for n in range(-99, 100)}
        assert sum(chances.values()) == pytest.approx(1)
        expected = [20_000 * chance for chance in chances.values()]
        assert stats.chisquare([values[n] for n in chances], expected).pvalue > UNLIKELY


def test_letters_are_uniform_and_so_are_their_numbers() -> None:
    found = texts(draw(arithmetic(digits=2, distractors=3), 5000))
    letters = Counter(symbol for text in found for symbol in text if symbol.isalpha())
    assert set(letters) == set(ALPHABET[14:])
    assert stats.chisquare(list(letters.values())).pvalue > UNLIKELY
    runs = Counter(len(run) for text in found for run in re.findall("[^a-z]([a-z]*)", text.split("=")[0]))
    assert stats.chisquare([runs[k] for k in range(4)]).pvalue > UNLIKELY
    assert set(runs) == set(range(4))


def test_signature_has_the_forty_symbols_of_the_paper() -> None:
    signature = arithmetic(digits=8, distractors=3).signature
    assert (signature.input, signature.outputs, signature.mapping) == (Tokens(40), 40, MappingKind.LABELLING)
    assert arithmetic().baseline().value == log(12)


def test_batches_are_as_long_as_their_longest_sequence() -> None:
    batch = draw(arithmetic(digits=8, distractors=3), 40)
    assert batch.steps == batch.lengths.max()


def test_scores_are_over_the_results_alone() -> None:
    task = arithmetic()
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[~batch.counted] = np.random.default_rng(1).normal(size=((~batch.counted).sum(), 40)) * 50
    assert task.measure(outputs, batch)["results_right"] == 1
    outputs = np.random.default_rng(2).normal(size=outputs.shape)
    logs = special.log_softmax(outputs, axis=-1)
    each = [-logs[t, b, batch.targets[t, b]] for t, b in np.argwhere(batch.counted)]
    assert task.measure(outputs, batch)["cross_entropy"] == pytest.approx(np.mean(each))


def test_one_wrong_character_spoils_a_result() -> None:
    task = arithmetic()
    batch = draw(task, 4)
    outputs = task.oracle(batch)
    outputs[batch.counted[:, 0].argmax(), 0] = -outputs[batch.counted[:, 0].argmax(), 0]
    measured = task.measure(outputs, batch)
    assert measured["accuracy"] == pytest.approx(1 - 1 / batch.counted.sum())
    assert measured["results_right"] == 0.75


def test_solved_by_accuracy() -> None:
    assert arithmetic().solved({"cross_entropy": 0.1, "accuracy": 0.99, "results_right": 0.9})
    assert not arithmetic().solved({"cross_entropy": 0.1, "accuracy": 0.989, "results_right": 0.9})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"digits": 0}, "digits: .*greater than or equal to 1"),
        ({"digits": 18}, "digits: .*less than or equal to 17"),
        ({"distractors": -1}, "distractors: .*greater than or equal to 0"),
        ({"negative": "maybe"}, "negative: "),
        ({"digit": 3}, "no field 'digit'; did you mean 'digits'"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'arithmetic': .*{sentence}") as caught:
        TaskSpec(name="arithmetic", **options)
    assert "\n" not in str(caught.value)
