"""Number names: the same number in another language, by num2words."""

from __future__ import annotations

from functools import cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import DataError, quoted, shortened
from longlag_tasks._accuracy import AccuracyOptions
from longlag_tasks._cut import Unit
from longlag_tasks._pairs import Corpus, PairTask
from longlag_tasks._recorded import held_out, text_corpus

DIGITS = "digits"


class NumberNamesOptions(AccuracyOptions):
    """Options of `NumberNames`."""

    source: str = Field("en", description="language that is read, as num2words calls it, or digits")
    target: str = Field("fr", description="language that is written, or digits")
    highest: int = Field(9999, ge=99, le=999_999, description="numbers are 0 ... highest")
    held_out: Literal["numbers", "range"] = Field(
        "numbers", description="numbers: a random share of them; range: all from low to high"
    )
    share: float = Field(0.2, gt=0, lt=1, description="numbers: share held out, half for validation, half for the test")
    low: int = Field(4000, ge=0, description="range: the first number held out")
    high: int = Field(4999, ge=0, description="range: the last number held out")
    unit: Unit = Field("words", description="symbols: words, signs and digits, or single characters")
    solved_accuracy: float = Field(
        0.95, gt=0, le=1, description="solved when so large a share of the validation numbers is right throughout"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {quoted(self.source)}")
        if self.held_out == "range" and not (self.low < self.high < self.highest):
            raise ValueError(f"a range held out has low < high < highest, not {self.low}, {self.high}, {self.highest}")
        return self


class NumberNames(PairTask[NumberNamesOptions]):
    """``nine thousand and seven`` to ``neuf mille sept``: cardinal numbers 0 ... N in two languages.

    The numbers held out are never drawn in training: a random tenth for validation and one for the test
    (`held_out` numbers), or a whole range, half of it each (range).

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[U, B]``, the last symbol the end. The loss is the cross-entropy
    in nats a symbol. The names are num2words'; ``digits`` is the number in digits.
    """

    tokenize = "13a"

    @property
    def corpus(self) -> Corpus:
        given = self.options
        return prepared(
            given.source,
            given.target,
            given.highest,
            given.share if given.held_out == "numbers" else None,
            (given.low, given.high),
            given.unit,
        )


@cache
def names(language: str, highest: int) -> list[str]:
    """The numbers 0 ... highest in a language."""
    if language == DIGITS:
        return [str(number) for number in range(highest + 1)]
    import num2words

    known = sorted(num2words.CONVERTER_CLASSES)
    if language not in known:
        raise DataError(
            f"num2words knows no language {quoted(language)}; it has {', '.join(known)}, and there is {DIGITS}"
        )
    try:
        return [str(num2words.num2words(number, lang=language)) for number in range(highest + 1)]
    except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
        raise DataError(f"num2words cannot count to {highest} in {quoted(language)}: {shortened(error)}") from error


@cache
def prepared(
    source: str, target: str, highest: int, share: float | None, bounds: tuple[int, int], unit: Unit
) -> Corpus:
    """The pairs, coded."""
    numbers = np.arange(highest + 1)
    held = None if share is not None else (bounds[0] <= numbers) & (numbers <= bounds[1])
    rows = held_out(len(numbers), share or 0.0, held)
    return text_corpus(names(source, highest), names(target, highest), rows, unit)
