"""Arithmetic: read the sum or difference of two numbers, among distracting letters, and write the result."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np
from pydantic import Field

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._recall import answer_scores

SYMBOLS = "0123456789+-=.abcdefghijklmnopqrstuvwxyz"
"""The symbols by their number."""

PLUS, MINUS, EQUALS, STOP, LETTERS = (SYMBOLS.index(symbol) for symbol in "+-=.a")
WRITTEN = [*range(10), MINUS, STOP]
"""What results are written with."""


class ArithmeticOptions(AccuracyOptions):
    """Options of `Arithmetic`."""

    digits: int = Field(3, ge=1, le=17, description="D, the most digits of a number (paper 8)")
    distractors: int = Field(
        1, ge=0, description="K, the most letters after each character up to the equals sign (paper: some)"
    )
    negative: bool = Field(True, description="whether numbers may be negative, half of them then")
    solved_accuracy: float = Field(
        0.99, gt=0, le=1, description="solved when so large a share of the result's characters is right"
    )


class Arithmetic(AccuracyTask[ArithmeticOptions]):
    """Read ``3e36d9-h1h39f94eeh43keg3c=`` and write ``-13991064.``, one character a step.

    Two numbers and a sign, + or -, with chance 1/2 each. A number has n digits, n uniform on ``1 ... D``, and is
    uniform among the numbers of n digits without a leading zero (n = 1: among 0 ... 9); with `negative` it is
    negated with chance 1/2 and then written with its own minus. After every character before ``=`` come k random
    letters, k uniform on ``0 ... K``. Then ``=``, the result, most significant digit first, and ``.`` for its end.

    The model predicts the next character and sees the right ones before it, those of the result too. Only the
    predictions of the result and its ``.`` count: they follow from what was read, the rest does not. Jozefowicz,
    Zaremba and Sutskever (2015), sec. 3.5: D = 8, 40 symbols.

    Shapes: inputs and targets int64 ``[T, B]`` (``targets[t]`` is the character after ``inputs[t]``), padded with
    zeros to the longest of the batch. The loss is the cross-entropy in nats over the counted characters.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the characters of the results"),
        Metric("accuracy", "max", "share", "characters of the results that have the largest output", best=1.0),
        Metric("results_right", "max", "share", "results without a wrong character", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(len(SYMBOLS)), len(SYMBOLS), MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        digits = rng.integers(1, self.options.digits + 1, (2, size))
        numbers = rng.integers(np.where(digits > 1, 10 ** (digits - 1), 0), 10**digits)
        if self.options.negative:
            numbers *= 1 - 2 * rng.integers(0, 2, (2, size))
        subtract = rng.integers(0, 2, size, dtype=bool)
        written, there = _written(numbers, self.options.digits)
        sign, certainly = np.where(subtract, MINUS, PLUS)[None], np.ones((1, size), dtype=bool)
        question, present = self._distracted(
            rng,
            np.concatenate([written[:, 0], sign, written[:, 1]]),
            np.concatenate([there[:, 0], certainly, there[:, 1]]),
        )
        result, result_there = _written(_result(numbers, subtract), self.options.digits + 1)
        equals, stop = np.full((1, size), EQUALS), np.full((1, size), STOP)
        return _batch(
            np.concatenate([question, equals, result, stop]),
            np.concatenate([present, certainly, result_there, certainly]),
            equals=len(question),
        )

    def _distracted(self, rng: np.random.Generator, characters: Array, present: Array) -> tuple[Array, Array]:
        """The characters with 0 ... K letters after each that is present."""
        most, (slots, size) = self.options.distractors, characters.shape
        letters = rng.integers(LETTERS, len(SYMBOLS), (slots, most, size))
        many = rng.integers(0, most + 1, (slots, 1, size))
        there = (np.arange(most)[:, None] < many) & present[:, None]
        return (
            np.concatenate([characters[:, None], letters], axis=1).reshape(-1, size),
            np.concatenate([present[:, None], there], axis=1).reshape(-1, size),
        )

    def baseline(self) -> Baseline:
        predictor = "no memory: the twelve characters that results are written with, equally likely"
        return Baseline(log(len(WRITTEN)), predictor, "ln 12")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, len(SYMBOLS)), dtype=np.float32)
        logits[..., WRITTEN] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        numbers, subtract = _read(batch.inputs)
        width = self.options.digits + 1
        written, there = _written(_result(numbers, subtract), width)
        equals, columns = (batch.inputs == EQUALS).argmax(0), np.arange(batch.size)
        places = equals + there.cumsum(0) - 1
        slot, column = np.nonzero(there)
        classes = np.zeros((batch.steps, batch.size), dtype=np.int64)
        classes[places[slot, column], column] = written[slot, column]
        classes[equals + there.sum(0), columns] = STOP
        return certain(classes, len(SYMBOLS))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        wrong = (outputs.argmax(-1) != batch.targets) & batch.counted
        return {**answer_scores(outputs, batch), "results_right": float(np.mean(~wrong.any(0)))}

    def describe(self, batch: Batch, index: int) -> str:
        """The question as it is read, without its distractors, and the result."""
        assert batch.lengths is not None and batch.counted is not None
        inputs = batch.inputs[: int(batch.lengths[index]), index]
        program = "".join(SYMBOLS[symbol] for symbol in inputs[: int((inputs == EQUALS).argmax()) + 1])
        result = "".join(SYMBOLS[symbol] for symbol in batch.targets[batch.counted[:, index], index])
        plain = "".join(symbol for symbol in program if not symbol.isalpha())
        rows = [program[start : start + 90] for start in range(0, len(program), 90)]
        shown = [f"{'reads' if number == 0 else '':7}{row}" for number, row in enumerate(rows)]
        return "\n".join([*shown, f"means  {plain}", f"writes {result}"])


def _result(numbers: Array, subtract: Array) -> Array:
    result: Array = numbers[0] + np.where(subtract, -numbers[1], numbers[1])
    return result


def _written(numbers: Array, width: int) -> tuple[Array, Array]:
    """Numbers ``[..., B]`` of at most `width` digits as characters ``[1 + width, ..., B]``, and which of them exist."""
    powers = 10 ** np.arange(width - 1, -1, -1).reshape(-1, *[1] * numbers.ndim)
    size = np.abs(numbers)
    characters = np.concatenate([np.full((1, *numbers.shape), MINUS), size // powers % 10])
    there = np.concatenate([(numbers < 0)[None], size >= powers])
    there[-1] = True
    return characters, there


def _batch(characters: Array, present: Array, equals: int) -> Batch:
    """Next-character prediction in the present ones of ``[slots, B]``, counted after the slot `equals`."""
    lengths = present.sum(0) - 1
    place = np.arange(lengths.max() + 1)
    text = np.zeros((len(lengths), len(place)), dtype=np.int64)
    text[place <= lengths[:, None]] = characters.T[present.T]  # both in order: one sequence after the other
    text = np.ascontiguousarray(text.T)
    step = place[:-1, None]
    exists = step < lengths
    inputs = np.where(exists, text[:-1], 0)
    return Batch(inputs, text[1:], lengths, counted=exists & (step >= present[:equals].sum(0)))


def _read(inputs: Array) -> tuple[Array, Array]:
    """The two numbers ``[2, B]`` of questions ``[T, B]``, and whether to subtract: an automaton over the steps."""
    columns = np.arange(inputs.shape[1])
    numbers, signs = np.zeros((2, *columns.shape), dtype=np.int64), np.ones((2, *columns.shape), dtype=np.int64)
    subtract, begun, over = (np.zeros(columns.shape, dtype=bool) for _ in range(3))
    which = np.zeros_like(columns)
    for symbol in inputs:
        over |= symbol == EQUALS
        digit, operator = (symbol < 10) & ~over, ((symbol == PLUS) | (symbol == MINUS)) & ~over
        joins = operator & begun
        signs[which, columns] = np.where(operator & ~joins, -1, signs[which, columns])
        numbers[which, columns] = np.where(digit, 10 * numbers[which, columns] + symbol, numbers[which, columns])
        subtract |= joins & (symbol == MINUS)
        which = which + joins
        begun = (begun | digit) & ~joins
    return numbers * signs, subtract
