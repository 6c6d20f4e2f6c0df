"""The embedded Reber grammar: predict the next symbol; the last but one repeats the second."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import CERTAIN
from longlag_tasks._reber import FIRST, LAST, START, STOP, SYMBOLS, Grammar, grammar

STREAM = 200


class EmbeddedReberOptions(Options):
    """Options of `EmbeddedReber`."""

    variant: Literal["strings", "continual", "unmarked"] = Field(
        "strings",
        description="strings: one at a time (Hochreiter and Schmidhuber 1997, experiment 1); continual: an endless "
        "stream of them (Gers et al. 2000); unmarked: the same without each string's first B and last E",
    )
    length: int | None = Field(
        None, ge=20, description=f"continual, unmarked: steps of a stream; none: {STREAM}. Strings have their own"
    )
    solved_share: float = Field(
        1.0, gt=0, le=1, description="solved when in so large a share of the sequences every step is right"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.variant == "strings" and self.length is not None:
            raise ValueError("strings have lengths of their own: set length only for the continual or unmarked variant")
        return self


class EmbeddedReber(Task[EmbeddedReberOptions]):
    """Predict the next symbol in strings of the embedded Reber grammar.

    A string is ``B x R x E`` with x = T or P, R a string of the Reber grammar::

        0 -B-> 1     1 -T-> 2, -P-> 3     2 -S-> 2, -X-> 4     3 -T-> 3, -V-> 5
                     4 -X-> 3, -S-> 6     5 -P-> 4, -V-> 6     6 -E-> end

    Every choice has chance 1/2. Strings have 9 symbols or more, 12 in the mean; the second x comes at least 6 steps
    after the first. Input ``x_t``, target ``x_{t+1}``. Where two symbols may follow, none can be predicted, only
    both; so a step is *right* when the outputs of all symbols that may follow are larger than those of all others,
    as Hochreiter and Schmidhuber (1997) judge. The score is the mean Kullback-Leibler divergence from the true
    chances of the next symbol, ``sum_s p(s) ln(p(s) / q(s))``: the cross-entropy above what chance costs.

    strings (default)
        One string a sequence, up to its final E, which is a target only. Hochreiter and Schmidhuber (1997).
    continual
        Streams of `length` steps of strings, one after another, each stream beginning with a string; nothing is
        reset in between. Gers, Schmidhuber and Cummins (2000).
    unmarked
        The same without the B and E around: ``x R x x' R' x' ...``; only what was read tells where a string ends.

    Shapes: inputs and targets int64 ``[T, B]``; strings are padded to the longest of the batch.
    """

    metrics = (
        Metric("divergence", "min", "nats", "mean over the steps, from the true chances of the next symbol"),
        Metric("sequences_right", "max", "share", "strings or streams with every step right", best=1.0),
        Metric("steps_right", "max", "share", "steps where all symbols that may follow lead", best=1.0),
        Metric("error_free", "max", "share", "of a string's or stream's steps, those before its first error", best=1.0),
        Metric("remembered", "max", "share", "right steps among those where the last but one symbol is due", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(len(SYMBOLS)), len(SYMBOLS), MappingKind.LABELLING, "cross-entropy")

    @property
    def criterion(self) -> str:
        return f"sequences_right of at least {self.options.solved_share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics["sequences_right"] >= self.options.solved_share)

    @cached_property
    def _grammar(self) -> Grammar:
        return grammar(self.options.variant != "unmarked")

    @property
    def _begin(self) -> int:
        return START if self.options.variant != "unmarked" else FIRST

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        if self.options.variant != "strings":
            steps = self.options.length or STREAM
            stream, _ = self._grammar.walk(rng, self._begin, size, steps + 1)
            return Batch(stream[:steps], stream[1 : steps + 1])
        text, last = self._grammar.walk(rng, self._begin, size)
        step = np.arange(last.max())[:, None]
        exists = step < last
        return Batch(np.where(exists, text[: len(step)], 0), np.where(exists, text[1 : len(step) + 1], 0), last)

    @cached_property
    def _frequencies(self) -> tuple[Array, float]:
        """How often each symbol is a target, and what chance costs a step in nats: exactly, over all sequences."""
        chances, moves = self._grammar.chances, self._grammar.moves
        begin = np.zeros(len(moves))
        begin[self._begin] = 1
        reached = begin @ moves  # by reading the first symbol
        if self.options.variant == "strings":
            within = moves.copy()
            within[STOP] = 0
            visits = np.linalg.solve(np.eye(len(moves)) - within.T, reached)
        else:
            visits = np.zeros(len(moves))
            for _ in range(self.options.length or STREAM):
                visits, reached = visits + reached, reached @ moves
        share = visits / visits.sum()
        return share @ chances, float(share @ self._grammar.entropy)

    def baseline(self) -> Baseline:
        frequencies, chance = self._frequencies
        entropy = -float(np.sum(frequencies * np.log(frequencies)))
        return Baseline(
            entropy - chance,
            "no memory: each symbol as likely as it is frequent",
            "entropy of the symbols' frequencies less the mean entropy of the next symbol, exactly, from the "
            "expected visits of the grammar's Markov chain",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = np.log(self._frequencies[0]).astype(np.float32)
        return np.broadcast_to(logits, (batch.steps, batch.size, len(SYMBOLS))).copy()

    def oracle(self, batch: Batch) -> Array:
        chances = self._grammar.chances[self._states(batch)]
        logits: Array = np.where(chances > 0, np.log(np.maximum(chances, 1e-9)), -CERTAIN).astype(np.float32)
        return logits

    def _states(self, batch: Batch) -> Array:
        """The grammar's state after each step, ``[T, B]``; anything where there is padding."""
        return self._grammar.read(batch.inputs, self._begin)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        states, exists = self._states(batch), batch.exists()
        exists = np.ones(states.shape, dtype=bool) if exists is None else exists
        chances = self._grammar.chances[states]
        legal = chances > 0
        shifted = outputs.astype(np.float64) - outputs.max(-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        divergence = -(chances * logs).sum(-1) - self._grammar.entropy[states]
        right = np.where(legal, outputs, np.inf).min(-1) > np.where(legal, -np.inf, outputs).max(-1)
        wrong = ~right & exists
        steps = exists.sum(0)
        before = np.where(wrong.any(0), wrong.argmax(0), steps)
        due = np.isin(states, LAST) & exists
        return {
            "divergence": float(divergence[exists].mean()),
            "sequences_right": float(np.mean(~wrong.any(0))),
            "steps_right": float(right[exists].mean()),
            "error_free": float(np.mean(before / steps)),
            "remembered": float(right[due].mean()) if due.any() else 1.0,
        }

    def describe(self, batch: Batch, index: int) -> str:
        """What is read, and below it what may follow: one symbol, or two that are equally likely."""
        length = batch.steps if batch.lengths is None else int(batch.lengths[index])
        states = self._states(batch)[:length, index]
        read = [SYMBOLS[symbol] for symbol in batch.inputs[:length, index]]
        follow = ["".join(SYMBOLS[s] for s in np.flatnonzero(self._grammar.chances[state])) for state in states]
        rows = []
        for start in range(0, length, 30):
            rows.append("reads       " + " ".join(f"{symbol:2}" for symbol in read[start : start + 30]).rstrip())
            rows.append("may follow  " + " ".join(f"{both:2}" for both in follow[start : start + 30]).rstrip())
        return "\n".join([*rows, f"comes then  {SYMBOLS[batch.targets[length - 1, index]]}"])
