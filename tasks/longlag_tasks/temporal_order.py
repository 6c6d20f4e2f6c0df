"""Temporal order: in which order did two or three symbols come, far apart among many others?"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from longlag.task import Array, Baseline, Batch, MappingKind, Metric, Options, Signature, Task, Tokens
from longlag_tasks._classes import certain, log_likelihood
from longlag_tasks._options import year_as_text

ALPHABET = {"1997": "EBabcdXY", "pascanu": "cdefAB"}
"""The symbols by their number; the last two are the ones whose order counts."""

PLACES: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {
    ("1997", 2): ((10, 20), (50, 60)),
    ("1997", 3): ((10, 20), (33, 43), (66, 76)),
    ("pascanu", 2): ((10, 20), (50, 60)),
    ("pascanu", 3): ((10, 20), (30, 40), (60, 70)),
}
"""Where those stand, from and to, in hundredths of the length; 1997 with the last step, pascanu without."""

CONFIDENT = 0.3
"""1997: a sequence is right when all of its outputs are nearer than this to their targets."""

SOLVED_SHARE = {"1997": 0.999, "pascanu": 0.99}


class TemporalOrderOptions(Options):
    """Options of `TemporalOrder`."""

    length: int = Field(100, ge=10, description="T, steps; 1997: the least, sequences have T ... T + floor(T/10)")
    variant: Literal["1997", "pascanu"] = Field(
        "1997",
        description="1997: experiment 6 of Hochreiter and Schmidhuber, with a start and an end symbol; pascanu: "
        "six symbols and a fixed length (Pascanu et al. 2013)",
    )
    symbols: Literal[2, 3] = Field(2, description="how many symbols count: 2 (6a, torder) or 3 (6b, torder3)")
    solved_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="solved when at least this share is confident (1997) or right (pascanu); none: 0.999 and 0.99",
    )

    @field_validator("variant", mode="before")
    @classmethod
    def _year(cls, value: Any) -> Any:
        return year_as_text(value)


class TemporalOrder(Task[TemporalOrderOptions]):
    """Classify a sequence by the order of the few symbols, X or Y each, that count.

    At ``k = symbols`` places stands X or Y (A or B in pascanu), each with probability 1/2, everywhere else a uniform
    symbol of four others. The class of ``s_1 ... s_k`` is the binary number with the digits 0 for X and 1 for Y:
    XX, XY, YX, YY are the classes 0 ... 3. Places are uniform on ranges of steps t = 0 ..., in hundredths of T:

    =======  ========================================  ============================================
    variant  two symbols                               three symbols
    =======  ========================================  ============================================
    1997     10 ... 20, 50 ... 60 (experiment 6a)      10 ... 20, 33 ... 43, 66 ... 76 (6b)
    pascanu  10 ... 20, 50 ... 60, ends excluded       10 ... 20, 30 ... 40, 60 ... 70, likewise
    =======  ========================================  ============================================

    1997 (default)
        The sequence starts with E, ends with B and has ``T ... T + floor(T/10)`` steps, uniform. Eight symbols.
        Hochreiter and Schmidhuber (1997), experiment 6, T = 100.
    pascanu
        Six symbols, no start and no end, T steps. Pascanu, Mikolov and Bengio (2013).

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[B]``, ``2^k`` classes; the loss is the cross-entropy in nats.
    """

    metrics = (
        Metric("cross_entropy", "min", "nats", "mean over the sequences"),
        Metric("accuracy", "max", "share", "sequences whose class has the largest output", best=1.0),
        Metric("confident", "max", "share", "sequences with all outputs less than 0.3 from 0 or 1", best=1.0),
    )

    @property
    def signature(self) -> Signature:
        vocabulary, classes = len(ALPHABET[self.options.variant]), 2**self.options.symbols
        return Signature(Tokens(vocabulary), classes, MappingKind.CLASSIFICATION, "cross-entropy")

    @property
    def _judged(self) -> str:
        return "confident" if self.options.variant == "1997" else "accuracy"

    @property
    def _share(self) -> float:
        share = self.options.solved_share
        return float(SOLVED_SHARE[self.options.variant] if share is None else share)

    @property
    def criterion(self) -> str:
        words = " (accuracy with all outputs within 0.3)" if self._judged == "confident" else ""
        return f"{self._judged}{words} of at least {self._share:g}"

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return bool(metrics[self._judged] >= self._share)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        variant, symbols, columns = self.options.variant, self.options.symbols, np.arange(size)
        length, late = self.options.length, variant == "1997"
        special = len(ALPHABET[variant]) - 2
        steps = length + (length // 10 if late else 0)
        inputs = rng.integers(special - 4, special, (steps, size))
        counts = rng.integers(0, 2, (symbols, size))
        for which, (start, stop) in zip(counts, PLACES[variant, symbols], strict=True):
            place = rng.integers(start * length // 100, stop * length // 100 + late, size)
            inputs[place, columns] = special + which
        digits = 2 ** np.arange(symbols - 1, -1, -1)
        targets = digits @ counts
        if not late:
            return Batch(inputs, targets)
        lengths = rng.integers(length, steps + 1, size)
        inputs[0] = ALPHABET[variant].index("E")
        inputs[lengths - 1, columns] = ALPHABET[variant].index("B")
        inputs[np.arange(steps)[:, None] >= lengths] = 0
        return Batch(inputs, targets, lengths)

    def baseline(self) -> Baseline:
        return Baseline(self.options.symbols * log(2), "every class equally likely", "k ln 2, k symbols that count")

    def trivial(self, batch: Batch) -> Array:
        return np.zeros((batch.size, self.signature.outputs), dtype=np.float32)

    def oracle(self, batch: Batch) -> Array:
        special = len(ALPHABET[self.options.variant]) - 2
        counts = batch.inputs >= special
        later = counts[::-1].cumsum(0)[::-1] - counts  # how many that count are still to come: the digit's place
        classes = np.where(counts, (batch.inputs - special) << later, 0).sum(0)
        return certain(classes, self.signature.outputs)

    def measure(self, outputs: Array, batch: Batch) -> Mapping[str, float]:
        likelihood = log_likelihood(outputs, batch.targets)
        return {
            "cross_entropy": float(-likelihood.mean()),
            "accuracy": float(np.mean(outputs.argmax(-1) == batch.targets)),
            "confident": float(np.mean(np.exp(likelihood) > 1 - CONFIDENT)),
        }

    def describe(self, batch: Batch, index: int) -> str:
        """The symbols in rows of fifty, those that count marked below, and the class by their order."""
        alphabet, length = ALPHABET[self.options.variant], batch.steps
        if batch.lengths is not None:
            length = int(batch.lengths[index])
        text = "".join(alphabet[symbol] for symbol in batch.inputs[:length, index])
        marks = "".join("^" if symbol in alphabet[-2:] else " " for symbol in text)
        rows = [
            f"step {start:>6}  {text[start : start + 50]}\n{'':13}{marks[start : start + 50]}".rstrip()
            for start in range(0, length, 50)
        ]
        number = int(batch.targets[index])
        order = "".join(alphabet[-2:][int(digit)] for digit in f"{number:0{self.options.symbols}b}")
        return "\n".join([*rows, f"class   {number}, {order}"])
