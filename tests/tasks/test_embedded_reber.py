"""The embedded Reber grammar: its strings against the drawn diagram, its numbers against enumeration."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log

import numpy as np
import pytest
from scipy import stats

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import Array, Batch, MappingKind, Task, Tokens

UNLIKELY = 1e-3  # the p-value below which a distribution counts as wrong; seeds are fixed
NAMES = "BTPSXVE"
VARIANTS = ["strings", "continual", "unmarked"]

# The Reber grammar as a regular expression: through the upper branch (TS*X) or the lower one (P), or by XS at once.
INNER = r"B(?:TS*XS|(?:TS*XX|P)T*V(?:PXT*V)*(?:V|PS))E"
STRING = rf"B([TP]){INNER}\1E"


def reber(**options: object) -> Task:
    return TaskSpec(name="embedded-reber", **options).build()


def draw(task: Task, size: int = 500, seed: int = 0) -> Batch:
    return task.sample(np.random.default_rng(seed), size)


def texts(batch: Batch) -> list[str]:
    """The whole sequences, the first input and then all targets, once inputs and targets were seen to agree."""
    lengths = np.full(batch.size, batch.steps) if batch.lengths is None else batch.lengths
    found = []
    for b, length in enumerate(lengths):
        inputs, targets = batch.inputs[:length, b], batch.targets[:length, b]
        assert inputs[1:].tolist() == targets[:-1].tolist()
        found.append("".join(NAMES[symbol] for symbol in [inputs[0], *targets]))
    return found


def enumerated(most: int) -> dict[str, float]:
    """Every embedded string of at most so many symbols with its chance, by walking the diagram."""
    edges = {0: "B1", 1: "T2P3", 2: "S2X4", 3: "T3V5", 4: "X3S6", 5: "P4V6", 6: "E7"}
    walks = [("", 0, 1.0)]
    done: dict[str, float] = {}
    while walks:
        text, state, chance = walks.pop()
        if state == 7:
            done |= {f"B{x}{text}{x}E": chance / 2 for x in "TP"}
        elif len(text) + 4 < most:
            out = [edges[state][i : i + 2] for i in range(0, len(edges[state]), 2)]
            walks += [(text + edge[0], int(edge[1]), chance / len(out)) for edge in out]
    return done


def test_enumeration_and_expression_agree() -> None:
    strings = enumerated(20)
    assert all(re.fullmatch(STRING, text) for text in strings)
    assert 0.9 < sum(strings.values()) < 1
    assert min(map(len, strings)) == 9


def test_strings_come_with_the_chances_of_the_grammar() -> None:
    found = Counter(texts(draw(reber(), 40_000)))
    assert all(re.fullmatch(STRING, text) for text in found)
    likely = {text: chance for text, chance in enumerated(16).items() if chance > 5e-4}
    seen = [found[text] for text in likely]
    expected = [40_000 * chance for chance in likely.values()]
    rest = 40_000 - sum(seen), 40_000 - sum(expected)
    assert stats.chisquare([*seen, rest[0]], [*expected, rest[1]]).pvalue > UNLIKELY


def test_strings_have_twelve_symbols_in_the_mean_and_long_tails_are_kept() -> None:
    lengths = draw(reber(), 40_000).lengths + 1
    assert abs(lengths.mean() - 12) < 4 * lengths.std() / 200
    assert lengths.min() == 9
    assert lengths.max() > 40


@pytest.mark.parametrize("variant", ["continual", "unmarked"])
def test_streams_are_strings_one_after_another(variant: str) -> None:
    one = STRING if variant == "continual" else rf"([TP]){INNER}\1"
    batch = draw(reber(variant=variant, length=300), 50)
    assert batch.steps == 300
    assert batch.lengths is None
    seen: list[str] = []
    for text in texts(batch):
        place = 0
        while found := re.compile(one).match(text, place):
            seen.append(found.group())
            place = found.end()
        assert len(text) - place < 80  # a string that the stream's end cut
    assert len(seen) > 50 * 300 / 14
    letters = Counter(string[1 if variant == "continual" else 0] for string in seen)
    assert stats.binomtest(letters["T"], len(seen)).pvalue > UNLIKELY


def test_strings_of_a_stream_are_independent() -> None:
    whole = "".join(texts(draw(reber(variant="continual", length=2000), 50)))
    letters = [found.group(1) for found in re.finditer(STRING, whole)]
    pairs = Counter(pairwise(letters))
    assert stats.chisquare(list(pairs.values())).pvalue > UNLIKELY
    assert len(pairs) == 4


def direct_baseline(batch: Batch, task: Task) -> float:
    """Entropy of the symbols' frequencies less that of the true chances, from a sample."""
    exists = np.ones(batch.inputs.shape, bool) if batch.lengths is None else batch.exists()
    frequencies = np.bincount(batch.targets[exists], minlength=7) / exists.sum()
    true = np.exp(task.oracle(batch)[exists].astype(float))
    entropy = -np.mean(np.sum(true * np.log(true), -1))
    return float(-np.sum(frequencies * np.log(frequencies)) - entropy)


@pytest.mark.parametrize(("variant", "length"), [("strings", None), ("continual", 20), ("unmarked", 50)])
def test_baseline_agrees_with_a_large_sample(variant: str, length: int | None) -> None:
    task = reber(variant=variant, length=length)
    assert direct_baseline(draw(task, 40_000), task) == pytest.approx(task.baseline().value, rel=2e-3)


def forgetful(task: Task, batch: Batch) -> Array:
    """The oracle without the memory of the first letter: T and P are equally likely where one is due."""
    logits = task.oracle(batch)
    due = [t for t, text in enumerate(texts(batch)[0]) if t and text == "E" and t < batch.steps]
    for b, text in enumerate(texts(batch)):
        for found in re.finditer(STRING, text):
            step = found.end() - 3  # the inner E, after which the letter is due
            logits[step, b] = -100
            logits[step, b, [1, 2]] = 0
    assert due
    return logits


def test_who_forgets_the_letter_is_found_out() -> None:
    task = reber()
    batch = draw(task, 20_000)
    measured = task.measure(forgetful(task, batch), batch)
    assert measured["divergence"] == pytest.approx(log(2) / 11, rel=1e-2)
    assert measured["remembered"] == 0
    assert measured["sequences_right"] == 0
    assert measured["steps_right"] == pytest.approx(10 / 11, rel=1e-2)
    # The letter is due in the last but one of a string's steps.
    assert measured["error_free"] == pytest.approx(np.mean((batch.lengths - 2) / batch.lengths))


def test_a_step_is_right_when_all_that_may_follow_lead() -> None:
    """B T: only B may follow. B T B: T and P may."""
    task = reber(variant="continual", length=20)
    batch = draw(task, 1)
    best = task.oracle(batch)
    for logits, right in (
        ({"T": 2.0, "P": 1.0, "X": 0.9}, True),
        ({"T": 2.0, "P": 1.0, "X": 1.0}, False),
        ({"T": 2.0, "P": 0.9, "X": 1.0}, False),
    ):
        outputs = best.copy()
        outputs[2, 0] = [logits.get(symbol, 0.0) for symbol in NAMES]
        measured = task.measure(outputs, batch)
        assert measured["steps_right"] == (1 if right else 0.95)
        assert measured["sequences_right"] == right
        assert measured["error_free"] == (1 if right else 0.1)


def test_divergence_is_the_cross_entropy_above_the_entropy() -> None:
    task = reber(variant="continual", length=40)
    batch = draw(task, 20_000)
    outputs = np.random.default_rng(1).normal(size=(40, 1, 7)) * np.ones((1, batch.size, 1))
    logs = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    cross = -np.take_along_axis(logs, batch.targets[..., None], -1).mean()
    chance = -np.take_along_axis(task.oracle(batch), batch.targets[..., None], -1).mean()
    assert task.measure(outputs, batch)["divergence"] == pytest.approx(cross - chance, rel=5e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_signature(variant: str) -> None:
    signature = reber(variant=variant).signature
    assert (signature.input, signature.outputs, signature.mapping) == (Tokens(7), 7, MappingKind.LABELLING)


def test_solved_when_all_sequences_are_right() -> None:
    assert reber().solved({"sequences_right": 1.0})
    assert not reber().solved({"sequences_right": 0.999})
    assert reber(solved_share=0.9).solved({"sequences_right": 0.9})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"length": 100}, "strings have lengths of their own"),
        ({"length": 10, "variant": "continual"}, "length: .*greater than or equal to 20"),
        ({"variant": "continuous"}, "variant: .*'strings', 'continual' or 'unmarked'"),
        ({"solved_share": 0}, "solved_share: .*greater than 0"),
    ],
)
def test_bad_options_give_one_clear_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'embedded-reber': .*{sentence}") as caught:
        TaskSpec(name="embedded-reber", **options)
    assert "\n" not in str(caught.value)


def test_description_shows_what_may_follow() -> None:
    text = "BTBPVVETE"
    symbols = np.array([[NAMES.index(symbol) for symbol in text]]).T
    told = reber().describe(Batch(symbols[:-1], symbols[1:], np.array([8])), 0)
    assert told.splitlines() == [
        "reads       B  T  B  P  V  V  E  T",
        "may follow  TP B  TP TV PV E  T  E",
        "comes then  E",
    ]
