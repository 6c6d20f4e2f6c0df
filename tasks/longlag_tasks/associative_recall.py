"""Associative recall with many queries (MQAR): pairs of key and value, then keys that ask for their values."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._recall import answer_scores, distinct, rows, words

BLANK = 0


class AssociativeRecallOptions(AccuracyOptions):
    """Options of `AssociativeRecall`."""

    later: ClassVar[tuple[str, ...]] = ("overwritten", "key_tokens")

    length: int = Field(64, ge=4, multiple_of=2, description="T, steps: pairs, then queries among filler")
    pairs: int = Field(4, ge=1, description="K, pairs of key and value, each asked for once; at most T / 4")
    vocabulary: int = Field(32, ge=4, description="V, tokens: the filler 0, keys below V / 2, values from there on")
    power: float = Field(0.01, gt=0, description="a, of the gaps' power law p(g) ~ g^(a-1); 1 is uniform")
    filler: Literal["blank", "random"] = Field(
        "blank", description="between the queries: blank, the token 0; random, any token of the vocabulary"
    )
    solved_accuracy: float = Field(
        0.99, gt=0, le=1, description="solved when so large a share of the queries is answered right"
    )
    overwritten: int = Field(0, ge=0, description="R, keys that come again with a new value, which alone counts then")
    key_tokens: Literal[1, 2] = Field(1, description="tokens of a key; 2: any two of the key tokens in a row")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.pairs > self.length // 4:
            raise ValueError(
                f"pairs should be at most length / 4, so that {self.pairs} pairs and their queries have room: "
                f"{self.length // 4} at length {self.length}"
            )
        if self.context + 2 * self.pairs > self.length:
            raise ValueError(
                f"length should be at least {self.context + 2 * self.pairs}, so that {self.writes} pairs and "
                f"{self.pairs} queries have room"
            )
        if self.overwritten > self.pairs:
            raise ValueError(f"overwritten should be at most the {self.pairs} pairs")
        keys = (self.vocabulary // 2 - 1) ** self.key_tokens
        if self.pairs > keys or self.writes > self.vocabulary - self.vocabulary // 2:
            raise ValueError(f"vocabulary {self.vocabulary} has {keys} keys, too few for {self.pairs} pairs")
        return self

    @property
    def writes(self) -> int:
        """Pairs that are shown, those that overwrite included."""
        return self.pairs + self.overwritten

    @property
    def context(self) -> int:
        """Steps of the pairs; even, so that queries stand where they always do."""
        steps = self.writes * (self.key_tokens + 1)
        return steps + steps % 2


class AssociativeRecall(AccuracyTask[AssociativeRecallOptions]):
    """Read K pairs of a key and a value; whenever a key comes again, say its value.

    Keys are drawn without replacement from ``1 ... H - 1``, H = floor(V/2), values without replacement from
    ``H ... V - 1``. Inputs: key, value, key, value ... (2K steps), then T - 2K steps of filler in which every key
    stands once more: the j-th key at step ``2K + 2 (g_j - 1)``, where the gaps ``g_1, g_2 ...`` are drawn one after
    the other, without replacement, from ``1 ... (T - 2K)/2`` with chances proportional to ``g^(a-1)``. Target
    where a key stands again: its value; only these K steps count. Arora, Eyuboglu et al. (2023), *Zoology*, whose
    figure 2 has V = 8192, a = 0.01, blank filler and (T, K) = (64, 4), (128, 8), (256, 16), (512, 64).

    Filler: ``blank`` is the token 0; ``random`` is uniform over all V tokens, keys and values among them, and the
    draw does not heed what stands in the sequence, so that a key may also come where its value does not count.

    With R overwritten keys, R of the K pairs come a second time with another value, behind all others; the query asks
    for the last value. A key of two tokens is any two of the key tokens, one after the other, at a query too, whose
    answer is due at the second: one token alone says nothing. Both as in the code of *Zoology* (``forgetting``,
    ``compositional``).

    Shapes: inputs and targets int64 ``[T, B]``. The loss is the cross-entropy in nats over the queries.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the queries"),
        Metric("accuracy", "max", "share", "queries whose value has the largest output", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        vocabulary = self.options.vocabulary
        return Signature(Tokens(vocabulary), vocabulary, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        length, pairs, vocabulary = self.options.length, self.options.pairs, self.options.vocabulary
        half, writes, tokens = vocabulary // 2, self.options.writes, self.options.key_tokens
        numbers = rng.permuted(distinct(rng, (half - 1) ** tokens, pairs, size), axis=0)
        values = half + rng.permuted(distinct(rng, vocabulary - half, writes, size), axis=0)
        if self.options.filler == "blank":
            inputs = np.full((length, size), BLANK, dtype=np.int64)
        else:
            inputs = rng.integers(0, vocabulary, (length, size))
        keys = [1 + numbers] if tokens == 1 else [1 + numbers // (half - 1), 1 + numbers % (half - 1)]
        queries, columns = self.options.context + 2 * self._gaps(rng, size), np.arange(size)
        answers, again = values[:pairs], np.zeros((0, size), dtype=np.int64)
        if self.options.overwritten:
            again = distinct(rng, pairs, self.options.overwritten, size)
            answers = answers.copy()
            answers[again, columns] = values[pairs:]
        step = tokens + 1
        for place, key in enumerate(keys):
            inputs[place : step * pairs : step] = key
            inputs[step * pairs + place : step * writes : step] = key[again, columns]
            inputs[queries + place, columns] = key
        inputs[tokens : step * writes : step] = values
        queries, values = queries + tokens - 1, answers
        targets, counted = np.zeros_like(inputs), np.zeros(inputs.shape, dtype=bool)
        targets[queries, columns] = values
        counted[queries, columns] = True
        return Batch(inputs, targets, counted=counted)

    def _gaps(self, rng: np.random.Generator, size: int) -> Array:
        """Gaps less one, ``[K, B]``, one after the other without replacement.

        The arrivals of independent Poisson processes with rates p(g) come in just that order.
        """
        places = (self.options.length - self.options.context) // 2
        rates = np.arange(1, places + 1) ** (self.options.power - 1)
        arrivals = rng.standard_exponential((size, places)) / rates
        gaps: Array = arrivals.argsort(axis=1)[:, : self.options.pairs].T
        return gaps

    def baseline(self) -> Baseline:
        values = self.options.vocabulary - self.options.vocabulary // 2
        return Baseline(log(values), "no memory: every value equally likely", "ln(V - floor(V/2))")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self.options.vocabulary), dtype=np.float32)
        logits[..., self.options.vocabulary // 2 :] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        step, columns = self.options.key_tokens + 1, np.arange(batch.size)
        context = step * self.options.writes
        if step > 2:
            return certain(self._looked_up(batch.inputs, context), self.options.vocabulary)
        value_of = np.zeros((self.options.vocabulary, batch.size), dtype=np.int64)
        for key, value in zip(batch.inputs[0:context:2], batch.inputs[1:context:2], strict=True):
            value_of[key, columns] = value
        return certain(value_of[batch.inputs, columns], self.options.vocabulary)

    def _looked_up(self, inputs: Array, context: int) -> Array:
        """The value of the last two tokens at every step behind the pairs, 0 where they are no key."""
        classes = np.zeros_like(inputs)
        for column, tokens in enumerate(inputs.T.tolist()):
            values = {(a, b): v for a, b, v in zip(*(tokens[k:context:3] for k in range(3)), strict=True)}
            for step in range(context + 1, len(tokens)):
                classes[step, column] = values.get((tokens[step - 1], tokens[step]), 0)
        return classes

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """The pairs as ``key→value``, then the rest, queries as ``key?`` and filler as ``·``; last the answers."""
        assert batch.counted is not None
        tokens = self.options.key_tokens
        context = (tokens + 1) * self.options.writes
        inputs, counted = batch.inputs[:, index], batch.counted[:, index]
        pairs = [f"{','.join(map(str, key))}→{value}" for *key, value in inputs[:context].reshape(-1, tokens + 1)]
        queries, start = [], context
        for query in np.flatnonzero(counted):
            first = int(query) - tokens + 1
            asked = ",".join(map(str, inputs[first : first + tokens]))
            queries += [*words(inputs[start:first], {BLANK: "·"}), f"{asked}?"]
            start = first + tokens
        queries += words(inputs[start:], {BLANK: "·"})
        answers = words(batch.targets[counted, index], {})
        return "\n".join([*rows("pairs", pairs), *rows("queries", queries), *rows("answers", answers)])
