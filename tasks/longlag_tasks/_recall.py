"""What tasks share that ask at counted steps for symbols seen before: distinct draws, scores, rows of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import numpy as np

from longlag.task import Array, Batch
from longlag_tasks._classes import log_likelihood


def distinct(rng: np.random.Generator, population: int, count: int, size: int) -> Array:
    """Uniform subsets of ``0 ... population - 1``, one a column: int64 ``[count, size]``, in no uniform order.

    Floyd's algorithm (Bentley and Floyd 1987): the i-th draw may take one number more than the one before; if it
    hits a number that is taken, it takes the new one.
    """
    tops = np.arange(population - count, population)
    chosen = rng.integers(0, tops[:, None] + 1, (count, size))
    for index in range(1, count):
        taken = (chosen[:index] == chosen[index]).any(0)
        chosen[index, taken] = tops[index]
    return chosen


def answer_scores(outputs: Array, batch: Batch) -> Mapping[str, float]:
    """``cross_entropy`` (nats) and ``accuracy`` of logits ``[T, B, C]`` over the counted steps."""
    assert batch.counted is not None
    answers, targets = outputs[batch.counted], batch.targets[batch.counted]
    return {
        "cross_entropy": float(-np.mean(log_likelihood(answers, targets))),
        "accuracy": float(np.mean(answers.argmax(-1) == targets)),
    }


def words(symbols: Array, names: Mapping[int, str]) -> list[str]:
    """The symbols, by number or by `names`; runs of more than three that have a name as ``·×99``."""
    shown = []
    for symbol, run in groupby(int(symbol) for symbol in symbols):
        word, count = names.get(symbol, str(symbol)), len(list(run))
        shown.extend([f"{word}×{count}"] if symbol in names and count > 3 else [word] * count)
    return shown


def rows(title: str, shown: list[str], width: int = 90) -> list[str]:
    """Words in rows of at most `width` characters, behind a title."""
    filled = [""]
    for word in shown:
        if filled[-1] and len(filled[-1]) + len(word) >= width:
            filled.append("")
        filled[-1] += f"{' ' if filled[-1] else ''}{word}"
    return [f"{title if number == 0 else '':9}{row}" for number, row in enumerate(filled)]
