"""Dates: the pairs are Babel's, and days held out are never trained on."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from babel.dates import format_date

from longlag.errors import UserError
from longlag.spec import TaskSpec
from longlag.task import DataError, Task


def dates(**options: object) -> Task:
    return TaskSpec(name="dates", **{"first_year": 2004, "last_year": 2007, **options}).build()


def pairs(task: Task, split: str, size: int = 20_000) -> dict[str, str]:
    rng = np.random.default_rng(0)
    batch = task.sample(rng, size) if split == "training" else task.split(split, rng, size)
    lengths = batch.target_lengths
    assert lengths is not None
    return {
        task.source_text(batch, b): task.target_text(batch.targets[: lengths[b] - 1, b].tolist())
        for b in range(batch.size)
    }


def test_every_day_is_in_one_split_as_the_locales_write_it() -> None:
    task = dates(target="ja")
    found = [pairs(task, split) for split in ("training", "validation", "test")]
    days = [date(2004, 1, 1) + timedelta(n) for n in range(4 * 365 + 1)]
    assert sum(map(len, found)) == len(days)
    written = {format_date(day, "full", "de"): format_date(day, "full", "ja") for day in days}
    assert {**found[0], **found[1], **found[2]} == written


def test_years_are_held_out_whole() -> None:
    task = dates(source_format="yyyy-MM-dd", held_out="years", low=2006, high=2006)
    held = {**pairs(task, "validation"), **pairs(task, "test")}
    assert len(held) == 365
    assert {text[:4] for text in held} == {"2006"}
    assert {text[:4] for text in pairs(task, "training")} == {"2004", "2005", "2007"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"first_year": 2010}, r"first_year \(2010\) is after last_year \(2007\)"),
        ({"held_out": "years", "low": 1999}, "the years held out, 1999 to 2008"),
    ],
)
def test_bad_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^task 'dates': .*{sentence}"):
        dates(**options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"source": "xx_YY"}, "Babel knows no locale 'xx_YY'"),
        ({"source_format": "dd MM"}, "source_format 'dd MM' writes several days as '01 01'"),
    ],
)
def test_what_babel_cannot_do(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        _ = dates(**options).signature
