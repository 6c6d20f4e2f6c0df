"""MAD, mechanistic architecture design: six small tasks by which architectures are compared before they are scaled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import log
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyOptions, AccuracyTask
from longlag_tasks._classes import CERTAIN, certain
from longlag_tasks._mad import KINDS, Kind
from longlag_tasks._recall import answer_scores, rows, words


class MADOptions(AccuracyOptions):
    """Options of `MAD`."""

    variant: Literal[
        "in-context-recall", "noisy-recall", "fuzzy-recall", "memorisation", "compression", "selective-copying"
    ] = Field("in-context-recall", description="which of the six tasks")
    length: int | None = Field(
        None, ge=4, le=10**6, description="T, steps; none: the paper's base, 128, of selective copying 256, else 32"
    )
    vocabulary: int | None = Field(
        None, ge=8, le=10**6, description="V, tokens; none: the paper's base, 16, noisy 32, memorisation 256"
    )
    noise: float = Field(0.2, ge=0, lt=1, description="noisy recall: probability that a pair is replaced by noise")
    copied: int = Field(16, ge=1, description="selective copying: tokens to copy")
    solved_accuracy: float = Field(0.99, gt=0, le=1, description="solved at so large an accuracy")

    @property
    def sizes(self) -> tuple[int, int]:
        """T and V."""
        length, vocabulary = KINDS[self.variant].base
        return self.length or length, self.vocabulary or vocabulary

    @model_validator(mode="after")
    def _fits(self) -> Self:
        KINDS[self.variant](*self.sizes, self.noise, self.copied)
        return self


class MAD(AccuracyTask[MADOptions]):
    """Six small tasks of recall, memory and compression, with the sizes of the paper.

    =================  ======================================================================  ====  ====
    variant            sequence and answer                                                     T     V
    =================  ======================================================================  ====  ====
    in-context-recall  pairs of key and value, a map for each sequence: values of known keys    128    16
    noisy-recall       the same; in place of a pair stand two tokens of noise, by chance         128    32
    fuzzy-recall       keys and values of one to three tokens, the front padded                 128    16
    memorisation       keys, each before a blank: its value, by one map for all sequences        32    256
    compression        tokens and a sign, then a place at a time: the token that stood there     32    16
    selective-copying  tokens strewn among blanks, a sign, blanks: the tokens in order          256    16
    =================  ======================================================================  ====  ====

    Only the answers count. Poli et al. (2024). Shapes: inputs and targets int64 ``[T, B]``. The loss is the
    cross-entropy in nats over the answers.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the answers"),
        Metric("accuracy", "max", "share", "answers that have the largest output", best=1.0),
    )

    @cached_property
    def _kind(self) -> Kind:
        return KINDS[self.options.variant](*self.options.sizes, self.options.noise, self.options.copied)

    @property
    def signature(self) -> Signature:
        return Signature(Tokens(self._kind.symbols), self._kind.vocabulary, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        inputs, answers, counted = self._kind.draw(rng, size)
        return Batch(inputs, np.where(counted, answers, 0), counted=counted)

    def baseline(self) -> Baseline:
        return Baseline(log(len(self._kind.answers)), "no memory: every answer equally likely", "ln of their number")

    def trivial(self, batch: Batch) -> Array:
        logits = np.zeros((batch.steps, batch.size, self._kind.vocabulary), dtype=np.float32)
        logits[..., self._kind.answers.start : self._kind.answers.stop] = CERTAIN
        return logits

    def oracle(self, batch: Batch) -> Array:
        return certain(self._kind.solve(batch.inputs), self._kind.vocabulary)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        return answer_scores(outputs, batch)

    def describe(self, batch: Batch, index: int) -> str:
        """The tokens, one that asks for an answer as ``token→answer``."""
        assert batch.counted is not None
        names = {token: name for name, token in self._kind.named.items()}
        shown = words(batch.inputs[:, index], {})
        steps = zip(shown, batch.targets[:, index], batch.counted[:, index], strict=True)
        marked = [f"{names.get(int(w), w)}{f'→{answer}' if asked else ''}" for w, answer, asked in steps]
        return "\n".join(rows("tokens", marked))
