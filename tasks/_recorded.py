"""Recorded pairs of texts as a corpus: which are held out, and their symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.task import Array
from tasks._cut import Unit, cut, joined
from tasks._pairs import ENDING, UNKNOWN, Coded, Corpus, symbols_of

SPLIT_SEED = 0
"""Of the draw that holds pairs out: the same ones on every machine, whatever the run's seed."""


def held_out(count: int, share: float, held: Array | None = None) -> dict[str, Array]:
    """Rows for training, validation and test.

    Args:
        count: pairs there are.
        share: of them that is held out at random.
        held: bool ``[count]``, those held out instead; half for validation, half for the test.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    if held is None:
        out, training = order[: round(share * count)], order[round(share * count) :]
    else:
        out, training = order[held[order]], order[~held[order]]
    return {"training": np.sort(training), "validation": out[: len(out) // 2], "test": out[len(out) // 2 :]}


def text_corpus(
    sources: Sequence[str], targets: Sequence[str], rows: Mapping[str, Array], units: tuple[Unit, Unit]
) -> Corpus:
    """Pairs of texts cut into words or characters. The vocabulary is that of the training pairs."""
    read, write = ([cut(text, unit) for text in texts] for texts, unit in zip((sources, targets), units, strict=True))
    seen = rows["training"].tolist()
    return Corpus(
        Coded.of(read, symbols_of([read[n] for n in seen], UNKNOWN), end=False),
        Coded.of(write, symbols_of([write[n] for n in seen], ENDING, UNKNOWN), end=True),
        rows,
        joined,
        joined,
    )
