"""How answers made of symbols are scored: given the true history, and running freely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from longlag.task import Answer, Array, Batch, Metric
from longlag_tasks._classes import log_likelihood

END = 0
"""The class that ends an answer, in every task that uses these scores."""

CROSS_ENTROPY = Metric("cross_entropy", "min", "nats", "mean over the symbols of the answers, given the true history")
TOKEN_ACCURACY = Metric("token_accuracy", "max", "share", "symbols right, given the true history", best=1.0)
SEQUENCE_ACCURACY = Metric("sequence_accuracy", "max", "share", "free answers without a wrong symbol", best=1.0)
BLEU = Metric("bleu", "max", "points of 100", "BLEU of the free answers, the whole split at once", best=100.0)
CHRF = Metric("chrf", "max", "points of 100", "chrF2 of the free answers, the whole split at once", best=100.0)


def taught(outputs: Array, batch: Batch) -> dict[str, float]:
    """`CROSS_ENTROPY` and `TOKEN_ACCURACY` of logits ``[U, B, C]``."""
    exists = batch.answered()
    exists = np.ones(batch.targets.shape, bool) if exists is None else exists
    given, wanted = outputs[exists], batch.targets[exists]
    return {
        CROSS_ENTROPY.name: float(-np.mean(log_likelihood(given, wanted))),
        TOKEN_ACCURACY.name: float(np.mean(given.argmax(-1) == wanted)),
    }


def right(answer: Answer, batch: Batch) -> Array:
    """Which free answers are the target to the last symbol, bool ``[B]``."""
    wanted = batch.targets
    steps = max(len(wanted), len(answer.values))

    def padded(values: Array, lengths: Array) -> Array:
        longer = np.pad(values, ((0, steps - len(values)), (0, 0)))
        return np.where(np.arange(steps)[:, None] < lengths, longer, END)

    true = written_lengths(batch)
    same = (padded(wanted, true) == padded(answer.values, answer.lengths)).all(0)
    return np.asarray(same & (true == answer.lengths))


def written_lengths(batch: Batch) -> Array:
    """Symbols of the targets before their end, ``[B]``."""
    full = np.full(batch.size, len(batch.targets)) if batch.target_lengths is None else batch.target_lengths
    return np.asarray(full - 1)


def written(batch: Batch) -> list[list[int]]:
    """The symbols of the targets, without their end."""
    return [batch.targets[:n, b].tolist() for b, n in enumerate(written_lengths(batch))]


def answer_of(outputs: Array) -> Answer:
    """The likeliest symbols of logits ``[U, B, C]`` up to their first end, as a free answer."""
    values = outputs.argmax(-1)
    ended = values == END
    return Answer(values, np.where(ended.any(0), ended.argmax(0), len(values)))


def text_scores(answers: Sequence[str], references: Sequence[Sequence[str]], tokenize: str) -> dict[str, float]:
    """`BLEU` and `CHRF` by sacrebleu.

    Args:
        answers: as text.
        references: of each answer, one or more.
        tokenize: ``none`` where words stand apart by spaces already, ``13a`` (BLEU's usual) for plain text.
    """
    import sacrebleu

    most = max(len(each) for each in references)
    streams: list[Any] = [[each[k] if k < len(each) else None for each in references] for k in range(most)]
    if not any(answers):
        return {BLEU.name: 0.0, CHRF.name: 0.0}
    bleu = sacrebleu.BLEU(tokenize=tokenize, force=True)
    longest = max(len(bleu.tokenizer(text).split()) for each in references for text in each)
    bleu.max_ngram_order = max(1, min(bleu.max_ngram_order, longest))  # there are no longer n-grams to find
    chrf = sacrebleu.corpus_chrf(list(answers), streams)
    return {BLEU.name: min(float(bleu.corpus_score(list(answers), streams).score), 100.0), CHRF.name: float(chrf.score)}
