"""Dates: the same day as another locale writes it, by Babel."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import DataError, quoted, shortened
from longlag_tasks._accuracy import AccuracyOptions
from longlag_tasks._cut import Unit
from longlag_tasks._pairs import Corpus, PairTask
from longlag_tasks._recorded import held_out, text_corpus


class DatesOptions(AccuracyOptions):
    """Options of `Dates`."""

    source: str = Field("de", description="locale that is read, as Babel calls it: de, en_US, pt_BR ...")
    target: str = Field("fr", description="locale that is written")
    source_format: str = Field("full", description="full, long, medium, short, or a pattern such as yyyy-MM-dd")
    target_format: str = Field("full", description="the same for what is written")
    first_year: int = Field(1990, ge=1, le=9999, description="days from the first of January of this year")
    last_year: int = Field(2029, ge=1, le=9999, description="to the end of this one")
    held_out: Literal["days", "years"] = Field(
        "days", description="days: a random share of them; years: all of some years"
    )
    share: float = Field(0.2, gt=0, lt=1, description="days: share held out, half for validation, half for the test")
    low: int = Field(2005, description="years: the first year held out")
    high: int = Field(2008, description="years: the last year held out")
    unit: Unit = Field("words", description="symbols: words, signs and digits, or single characters")
    solved_accuracy: float = Field(
        0.99, gt=0, le=1, description="solved when so large a share of the validation dates is right throughout"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.first_year > self.last_year:
            raise ValueError(f"first_year ({self.first_year}) is after last_year ({self.last_year})")
        inside = self.first_year <= self.low <= self.high <= self.last_year
        if self.held_out == "years" and (not inside or (self.low, self.high) == (self.first_year, self.last_year)):
            raise ValueError(
                f"the years held out, {self.low} to {self.high}, are some of {self.first_year} to {self.last_year}"
            )
        return self


class Dates(PairTask[DatesOptions]):
    """``Samstag, 3. März 2012`` to ``samedi 3 mars 2012``: every day of some years, as two locales write it.

    The days held out are never drawn in training: a random tenth for validation and one for the test (`held_out`
    days), or whole years, half of their days each (years). With `source_format` long and `target_format` full the
    model has to find the day of the week, which only the days it has seen can teach.

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[U, B]``, the last symbol the end. The loss is the cross-entropy
    in nats a symbol.
    """

    tokenize = "13a"

    @property
    def corpus(self) -> Corpus:
        given = self.options
        return prepared(
            (given.source, given.target),
            (given.source_format, given.target_format),
            (given.first_year, given.last_year),
            given.share if given.held_out == "days" else None,
            (given.low, given.high),
            given.unit,
        )


@cache
def days(first: int, last: int) -> list[date]:
    """Every day of the years."""
    start = date(first, 1, 1)
    return [start + timedelta(n) for n in range((date(last, 12, 31) - start).days + 1)]


def texts(locale: str, style: str, years: tuple[int, int]) -> list[str]:
    """Every day of the years as a locale writes it."""
    import babel
    from babel import dates

    try:
        known = babel.Locale.parse(locale)
    except (ValueError, babel.UnknownLocaleError) as error:
        raise DataError(f"Babel knows no locale {quoted(locale)}: {shortened(error)}") from error
    try:
        return [dates.format_date(day, style, locale=known) for day in days(*years)]
    except (KeyError, ValueError, AttributeError) as error:
        raise DataError(f"Babel cannot write dates as {quoted(style)}: {shortened(error)}") from error


@cache
def prepared(
    locales: tuple[str, str],
    styles: tuple[str, str],
    years: tuple[int, int],
    share: float | None,
    bounds: tuple[int, int],
    unit: Unit,
) -> Corpus:
    """The pairs, coded."""
    sources, targets = (texts(locale, style, years) for locale, style in zip(locales, styles, strict=True))
    _refuse_ambiguous(sources, styles[0])
    year = np.array([day.year for day in days(*years)])
    held = None if share is not None else (bounds[0] <= year) & (year <= bounds[1])
    return text_corpus(sources, targets, held_out(len(year), share or 0.0, held), unit)


def _refuse_ambiguous(sources: list[str], style: str) -> None:
    """A source that stands for two days (no year, two digits of it) would stand in training and test."""
    if len(set(sources)) < len(sources):
        text = next(text for n, text in enumerate(sources) if text in sources[:n])
        raise DataError(
            f"source_format {quoted(style)} writes several days as {quoted(text)}: take one that tells them apart"
        )
