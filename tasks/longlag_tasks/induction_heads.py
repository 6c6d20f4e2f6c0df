"""Induction heads: a trigger stands once among random tokens, and again at the end; which token came after it?"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from longlag.task import Array, Batch
from longlag_tasks._lengths import LengthOptions, OneAnswer
from longlag_tasks._recall import rows, words


class InductionHeadsOptions(LengthOptions):
    """Options of `InductionHeads`."""

    length: int = Field(64, ge=3, le=10**7, description="T, the most steps of a sequence")
    least: int | None = Field(
        None, ge=3, description="the fewest: lengths are uniform from here to T, one a sequence; none: all have T"
    )
    vocabulary: int = Field(16, ge=3, le=10**6, description="V, tokens, one of which is the trigger")


class InductionHeads(OneAnswer[InductionHeadsOptions]):
    """A trigger stands once among random tokens, and again at the end; which token came after it the first time?

    Tokens ``0 ... V - 2`` are uniform and independent. The trigger V - 1 stands at a step uniform on ``0 ... T - 3``
    and at the last one. One token is to be remembered, and which one depends on what is read: a recurrence whose
    weights do not depend on its input must keep all. Fu et al. (2023), *H3*; Gu and Dao (2023), who train at T = 256
    and test up to a million.

    Shapes: inputs int64 ``[T, B]``; targets int64 ``[B]``, V - 1 classes.
    """

    @property
    def sizes(self) -> tuple[int, int]:
        return self.options.vocabulary, self.options.vocabulary - 1

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        trigger, columns = self.options.vocabulary - 1, np.arange(len(lengths))
        inputs = rng.integers(0, trigger, (lengths.max(), len(lengths)))
        place = rng.integers(0, lengths - 2)
        inputs[place, columns] = inputs[lengths - 1, columns] = trigger
        return inputs, inputs[place + 1, columns]

    def law(self, length: int) -> Array:
        classes = self.sizes[1]
        return np.full(classes, 1 / classes)

    def solve(self, inputs: Array, lengths: Array) -> Array:
        trigger = self.options.vocabulary - 1
        columns = (column[:length].tolist() for column, length in zip(inputs.T, lengths, strict=True))
        return np.array([tokens[tokens.index(trigger) + 1] for tokens in columns])

    def describe(self, batch: Batch, index: int) -> str:
        """The tokens, ``!`` for the trigger, and the answer."""
        read = words(batch.inputs[: self.lengths(batch)[index], index], {self.options.vocabulary - 1: "!"})
        return "\n".join([*rows("tokens", read), f"answer  {batch.targets[index]}"])
