"""Recorded pairs of sequences: coded once, held in memory, drawn by index."""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from longlag.task import Answer, Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptionsT_co, AccuracyTask
from longlag_tasks._classes import certain
from longlag_tasks._scores import (
    BLEU,
    CHRF,
    CROSS_ENTROPY,
    END,
    SEQUENCE_ACCURACY,
    TOKEN_ACCURACY,
    answer_of,
    right,
    taught,
    text_scores,
    written,
)

UNKNOWN = "⁇"
"""What stands for a symbol that training never shows."""

ENDING = "∎"
"""The end of an answer."""

Join = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Coded:
    """Sequences of symbols as numbers.

    Args:
        values: int64 ``[N, T]``, zero past the end.
        lengths: int64 ``[N]``.
        symbols: by number.
    """

    values: Array
    lengths: Array
    symbols: tuple[str, ...]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[str]], symbols: Sequence[str], end: bool) -> Coded:
        """Code sequences; a symbol that is not in the vocabulary becomes `UNKNOWN`, which must be in it then.

        Args:
            sequences: of symbols.
            symbols: the vocabulary, by number.
            end: whether class 0 closes every sequence.
        """
        number = {symbol: index for index, symbol in enumerate(symbols)}
        if end:
            del number[symbols[END]]  # a text that contains it ends no sooner
        other = number.get(UNKNOWN, -1)
        coded = [[number.get(s, other) for s in sequence] + [END] * end for sequence in sequences]
        lengths = np.array([len(sequence) for sequence in coded], dtype=np.int64)
        values = np.zeros((len(coded), int(lengths.max())), dtype=np.int64)
        values[np.arange(values.shape[1]) < lengths[:, None]] = [n for sequence in coded for n in sequence]
        return cls(values, lengths, tuple(symbols))

    def some(self, rows: Array) -> tuple[Array, Array]:
        """The rows, time-major and trimmed to the longest, and their lengths."""
        lengths = self.lengths[rows]
        return np.ascontiguousarray(self.values[rows, : int(lengths.max())].T), lengths


@dataclass(frozen=True)
class Corpus:
    """Pairs of coded sequences and which of them are for what.

    Args:
        source: what is read.
        target: what is written; each closed by class `END`.
        rows: ``training`` (a pair may stand there more than once), ``validation`` and ``test``: int64 indices.
        source_text: symbols to readable text.
        target_text: the same for targets.
        texts: the pairs as they were before they were coded; empty where coding loses nothing.
    """

    source: Coded
    target: Coded
    rows: Mapping[str, Array]
    source_text: Join = " ".join
    target_text: Join = " ".join
    texts: Sequence[tuple[str, str]] = ()

    def batch(self, rows: Array) -> Batch:
        inputs, lengths = self.source.some(rows)
        targets, target_lengths = self.target.some(rows)
        return Batch(inputs, targets, lengths, target_lengths=target_lengths)

    @cached_property
    def unigrams(self) -> tuple[Array, float]:
        """Log probabilities of the symbols of the training answers, and their cross-entropy in nats.

        Each symbol is counted once more than it occurs, so that none is impossible.
        """
        values, lengths = self.target.values, self.target.lengths
        times = np.bincount(self.rows["training"], minlength=len(values))
        exists = np.arange(values.shape[1]) < lengths[:, None]
        weights = np.broadcast_to(times[:, None], values.shape)[exists]
        counts = np.bincount(values[exists], weights, minlength=len(self.target.symbols))
        logs = np.log((counts + 1) / (counts + 1).sum())
        return logs, float(-(counts / counts.sum() * logs).sum())

    @cached_property
    def found(self) -> dict[tuple[int, ...], list[int]]:
        """From a source to the rows that have it."""
        known: dict[tuple[int, ...], list[int]] = {}
        for row, (values, length) in enumerate(zip(self.source.values, self.source.lengths, strict=True)):
            known.setdefault(tuple(values[:length].tolist()), []).append(row)
        return known

    def rows_of(self, batch: Batch, index: int) -> list[int]:
        """The rows with the source of one example."""
        assert batch.lengths is not None
        return self.found[tuple(batch.inputs[: batch.lengths[index], index].tolist())]

    @cached_property
    def _written(self) -> dict[str, list[str]]:
        """From a source to its targets, as they were."""
        known: dict[str, list[str]] = {}
        for source, target in self.texts:
            known.setdefault(source, []).append(target)
        return known

    def translations(self, batch: Batch, index: int) -> list[str]:
        """All texts that the corpus has as targets for the source of one example.

        Unknown symbols can make two sources one; their targets tell them apart, unless these are one as well.
        """
        rows = self.rows_of(batch, index)
        if len(rows) > 1:
            target = batch.targets[:, index]
            width = min(len(target), self.target.values.shape[1])
            same = (self.target.values[rows, :width] == target[:width]).all(1)
            rows = [rows[int(same.argmax())]]
        return self._written[self.texts[rows[0]][0]]


def symbols_of(sequences: Sequence[Sequence[str]], *first: str) -> list[str]:
    """The symbols that occur, sorted, behind those that come first."""
    return [*first, *sorted({symbol for sequence in sequences for symbol in sequence} - set(first))]


class PairTask(AccuracyTask[AccuracyOptionsT_co]):
    """Base of the translation tasks: their signature, trivial predictor, oracle, metrics and descriptions."""

    mapping = MappingKind.TRANSLATION
    metrics: tuple[Metric, ...] = (CROSS_ENTROPY, TOKEN_ACCURACY, SEQUENCE_ACCURACY, BLEU, CHRF)
    solved_by = SEQUENCE_ACCURACY.name
    tokenize = "none"
    """How sacrebleu cuts text into words."""

    @property
    @abstractmethod
    def corpus(self) -> Corpus:
        """The pairs; prepared at the first use."""

    @property
    def signature(self) -> Signature:
        source, target = self.corpus.source, self.corpus.target
        return Signature(
            Tokens(len(source.symbols)),
            len(target.symbols),
            MappingKind.TRANSLATION,
            "cross-entropy",
            end=END,
            max_steps=target.values.shape[1],
        )

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        rows = self.corpus.rows["training"]
        return self.corpus.batch(rows[rng.integers(0, len(rows), size)])

    def split(self, name: str, rng: np.random.Generator, size: int) -> Batch:
        """The first `size` pairs of the split, which stand in random order."""
        return self.corpus.batch(self.corpus.rows[name][:size])

    def baseline(self) -> Baseline:
        return Baseline(
            self.corpus.unigrams[1],
            "every symbol as often as in the training answers",
            "-sum_s p(s) ln p(s), p the shares of the symbols of the training answers, ends included",
        )

    def trivial(self, batch: Batch) -> Array:
        return np.tile(self.corpus.unigrams[0], (*batch.targets.shape, 1)).astype(np.float64)

    def oracle(self, batch: Batch) -> Array:
        rows = [self.corpus.rows_of(batch, b)[0] for b in range(batch.size)]
        classes = np.zeros(batch.targets.shape, dtype=np.int64)
        known, _ = self.corpus.target.some(np.array(rows))
        classes[: len(known)] = known[: len(classes)]
        return certain(classes, len(self.corpus.target.symbols))

    def oracle_answer(self, batch: Batch) -> Answer:
        """Free answers that are right."""
        return answer_of(self.oracle(batch))

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return taught(outputs, batch)

    def judge(self, answer: Answer, batch: Batch) -> Mapping[str, float]:
        scores = {SEQUENCE_ACCURACY.name: float(np.mean(right(answer, batch)))}
        if BLEU in self.metrics:
            given = [self.target_text(sequence) for sequence in answer.sequences()]
            wanted = [[self.target_text(sequence)] for sequence in written(batch)]
            scores |= text_scores(given, wanted, self.tokenize)
        return scores

    def table(self, outputs: Array, answer: Answer | None, batch: Batch) -> dict[str, list[Any]]:
        """Source, reference and what the model answered."""
        columns: dict[str, list[Any]] = {
            "source": [self.source_text(batch, b) for b in range(batch.size)],
            "reference": [self.target_text(sequence) for sequence in written(batch)],
        }
        if answer is not None:
            columns["answer"] = [self.target_text(sequence) for sequence in answer.sequences()]
            columns["right"] = right(answer, batch).tolist()
        return columns

    def source_text(self, batch: Batch, index: int) -> str:
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        return self.corpus.source_text([self.corpus.source.symbols[n] for n in batch.inputs[:length, index]])

    def target_text(self, sequence: Sequence[int]) -> str:
        return self.corpus.target_text([self.corpus.target.symbols[n] for n in sequence])

    def describe(self, batch: Batch, index: int) -> str:
        """Source and target as text."""
        target = self.target_text(written(batch)[index])
        return "\n".join(
            line
            for title, text in (("source  ", self.source_text(batch, index)), ("target  ", target))
            for line in textwrap.wrap(text, 100, initial_indent=title, subsequent_indent=" " * 8) or [title]
        )
