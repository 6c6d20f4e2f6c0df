"""Word problems of finite groups: read elements, give their product so far at every step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Signature, Tokens
from longlag_tasks._accuracy import AccuracyTask
from longlag_tasks._classes import certain
from longlag_tasks._groups import Group, group
from longlag_tasks._lengths import (
    CROSS_ENTROPY,
    SCALED,
    LengthOptions,
    drawn_lengths,
    entropy,
    labelled,
    logits_of,
    ragged,
    scaled,
)
from longlag_tasks._recall import rows

MOVED = {"swaps": 2, "3-permutations": 3}
"""Points that a generator moves at most."""


class WordProblemOptions(LengthOptions):
    """Options of `WordProblem`."""

    group: Literal["S3", "S4", "S5", "A5", "Z60", "A4xZ5"] = Field(
        "S3", description="symmetric, alternating and cyclic groups; A4xZ5 is a direct product"
    )
    generators: Literal["all", "swaps", "3-permutations"] = Field(
        "all",
        description="what is read: all elements; the identity and those that swap two points; or those that move at "
        "most three points",
    )
    tokens: int = Field(1, ge=1, le=100, description="tokens an element: it stands so many times, or filler behind it")
    filler: bool = Field(False, description="behind an element stands filler, not the element again")
    solved_accuracy: float = Field(0.9, gt=0, le=1, description="solved at so large a sequence accuracy")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.generators != "all" and not (self.group[0] == "S" or self.group == "A5"):
            raise ValueError(f"generators should be all for {self.group}, whose elements do not permute a few points")
        if self.generators == "swaps" and self.group == "A5":
            raise ValueError("generators should not be swaps for A5, which holds none")
        if self.filler and self.tokens == 1:
            raise ValueError("filler stands behind an element where it has several tokens")
        return self


class WordProblem(AccuracyTask[WordProblemOptions]):
    """Read elements of a finite group; at every step, what is their product so far?

    Elements ``x_1 x_2 ...`` are uniform and independent on G, or on generators of it. Target at step t: the number of
    ``y_t = y_{t-1} x_t``, first ``y_{t-1}``, then ``x_t``, as permutations. With p tokens an element it stands p times
    (or once, before p - 1 times filler), and the targets come p - 1 steps later: ``y_i`` at the steps ``p i + p - 1
    ... p i + 2 p - 2`` counted from 0, the identity before the first. What a state must hold is one of |G| elements;
    S5, A5 are not solvable, and no fixed number of layers that are parallel in time computes their products for all
    lengths, unless TC0 = NC1. Merrill, Petty and Sabharwal (2024); Grazzi et al. (2024).

    Elements are drawn as quotients of the products, ``x_t = y_{t-1}^-1 y_t``, which is the same law; products of
    generators come from a parallel scan. There is no loop over time.

    Shapes: inputs and targets int64 ``[T, B]``. The loss is the cross-entropy in nats over the steps.
    """

    solved_by = "sequence_accuracy"
    metrics = (
        CROSS_ENTROPY,
        Metric("accuracy", "max", "share", "steps whose product has the largest output", best=1.0),
        SCALED,
        Metric("sequence_accuracy", "max", "share", "sequences with every step right", best=1.0),
    )

    @cached_property
    def _group(self) -> Group:
        return group(self.options.group)

    @cached_property
    def _generators(self) -> Array:
        """The elements by the number of their token."""
        return self._group.moving(MOVED.get(self.options.generators, len(self._group.elements[0])))

    @property
    def signature(self) -> Signature:
        symbols = len(self._generators) + self.options.filler
        return Signature(Tokens(symbols), self._group.order, MappingKind.LABELLING, "cross-entropy")

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lengths, found, times = drawn_lengths(rng, self.options, size), self._group, self.options.tokens
        steps = int(lengths.max())
        count = -(-steps // times)
        if self.options.generators == "all":
            products = rng.integers(0, found.order, (count, size))
            elements = np.empty_like(products)
            elements[0] = products[0]
            elements[1:] = found.quotients.take(products[:-1] * found.order + products[1:])
        else:
            elements = rng.integers(0, len(self._generators), (count, size))
            products = found.prefixes(self._generators.take(elements))
        if times > 1:
            elements, products = self._spread(elements, products, steps)
        if len(self.options.lengths) > 1:
            exists = np.arange(steps)[:, None] < lengths
            elements, products = elements * exists, products * exists
        return ragged(elements, products, lengths)

    def _spread(self, elements: Array, products: Array, steps: int) -> tuple[Array, Array]:
        """Several tokens for each element, and the products later."""
        times = self.options.tokens
        inputs, later = elements.repeat(times, 0)[:steps], products.repeat(times, 0)
        if self.options.filler:
            inputs[np.arange(steps) % times > 0] = len(self._generators)
        return inputs, np.concatenate([np.zeros_like(later[: times - 1]), later])[:steps]

    @cached_property
    def _law(self) -> Array:
        """Chances of each product by step, ``[T, |G|]``."""
        steps, times = self.options.length, self.options.tokens
        if self.options.generators == "all":
            law = np.full((steps, self._group.order), 1 / self._group.order)
        else:
            law = self._group.law(self._generators, -(-steps // times))
        first = np.zeros((times - 1, self._group.order))
        first[:, 0] = 1
        return np.concatenate([first, law.repeat(times, 0)])[:steps]

    def baseline(self) -> Baseline:
        lengths = self.options.lengths
        weights = np.clip(lengths.stop - np.arange(1, self.options.length + 1), 0, len(lengths))
        return Baseline(
            float(np.average(entropy(self._law), weights=weights)),
            "no memory: each element as likely as it is at this step",
            "mean over the steps of the entropy of the product's law: ln |G| for uniform elements, else exactly",
        )

    def trivial(self, batch: Batch) -> Array:
        logits = logits_of(self._law[: batch.steps])[:, None]
        return np.broadcast_to(logits, (batch.steps, batch.size, self._group.order)).copy()

    def oracle(self, batch: Batch) -> Array:
        """Step by step, with permutations themselves."""
        times, points = self.options.tokens, np.array(self._group.elements)
        numbers = {element: number for number, element in enumerate(self._group.elements)}
        now = np.broadcast_to(np.arange(points.shape[1]), (batch.size, points.shape[1]))
        classes = np.zeros(batch.inputs.shape, dtype=np.int64)
        for step in range(times - 1, batch.steps):
            if (step + 1) % times == 0:
                read = points[self._generators[batch.inputs[step - times + 1]]]
                now = np.take_along_axis(read, now, axis=1)
            classes[step] = [numbers[tuple(row)] for row in now.tolist()]
        return certain(classes, self._group.order)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        likelihood, right = labelled(outputs, batch)
        exists = np.ones(right.shape, dtype=bool) if (found := batch.exists()) is None else found
        accuracy = float(right[exists].mean())
        return {
            "cross_entropy": float(-likelihood[exists].mean()),
            "accuracy": accuracy,
            "scaled_accuracy": scaled(accuracy, self._group.order),
            "sequence_accuracy": float((right | ~exists).all(0).mean()),
        }

    def right(self, outputs: Array, batch: Batch) -> Array:
        right = outputs.argmax(-1) == batch.targets
        exists = np.ones(right.shape, dtype=bool) if (found := batch.exists()) is None else found
        share: Array = (right & exists).sum(0) / exists.sum(0)
        return share

    def describe(self, batch: Batch, index: int) -> str:
        """The elements that are read, by their number, ``·`` for filler; below, the products."""
        length, filler = int(self.lengths(batch)[index]), len(self._generators)
        read = [
            "·" if token == filler else str(self._generators[token]) for token in batch.inputs[:length, index].tolist()
        ]
        return "\n".join(
            [*rows("elements", read), *rows("products", batch.targets[:length, index].astype(str).tolist())]
        )
