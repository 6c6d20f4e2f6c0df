"""Recorded pairs of texts as a corpus: which are held out, and their symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from longlag.task import Array, DataError, quoted
from longlag_tasks._cut import Unit, cut, joined
from longlag_tasks._pairs import ENDING, Coded, Corpus, symbols_of

SPLIT_SEED = 0
"""Of the draw that holds pairs out: the same ones on every machine, whatever the run's seed."""


def held_out(count: int, fraction: float, held: Array | None = None) -> dict[str, Array]:
    """Rows for training, validation and test.

    Args:
        count: pairs there are.
        fraction: of them that is held out at random.
        held: bool ``[count]``, those held out instead; half for validation, half for the test.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    if held is None:
        out, training = order[: round(fraction * count)], order[round(fraction * count) :]
    else:
        out, training = order[held[order]], order[~held[order]]
    return {"training": np.sort(training), "validation": out[: len(out) // 2], "test": out[len(out) // 2 :]}


def text_corpus(sources: Sequence[str], targets: Sequence[str], rows: Mapping[str, Array], unit: Unit) -> Corpus:
    """Pairs of texts cut into words or characters. The vocabulary is that of all pairs, whatever is held out.

    Raises:
        DataError: where words are almost as many as texts: the language does not write them apart.
    """
    read, write = ([cut(text, unit) for text in texts] for texts in (sources, targets))
    coded = (Coded.of(read, symbols_of(read), end=False), Coded.of(write, symbols_of(write, ENDING), end=True))
    for texts, side in zip((sources, targets), coded, strict=True):
        if len(side.symbols) > len(texts) / 4:
            raise DataError(
                f"unit: {len(texts)} texts such as {quoted(texts[-1])} have {len(side.symbols)} different words: "
                "take characters for a language that writes them together"
            )
    return Corpus(
        *coded,
        rows,
        joined,
        joined,
    )
