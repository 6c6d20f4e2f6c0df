"""Modular arithmetic: an expression of digits, with or without brackets; after the last symbol, its value modulo 5."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from longlag.task import Array
from longlag_tasks import _expressions as expressions
from longlag_tasks._lengths import LengthOptions, OneAnswer

FEWEST = 5
"""Grazzi's sequences with brackets are at least so long, of which two symbols are none of the expression."""


class ModularArithmeticOptions(LengthOptions):
    """Options of `ModularArithmetic`."""

    brackets: bool = Field(False, description="expressions in full brackets")
    dialect: Literal["deletang", "grazzi", "slice"] = Field(
        "grazzi", description="deletang: no sign asks for the answer; grazzi and slice: the last symbol is ="
    )


class ModularArithmetic(OneAnswer[ModularArithmeticOptions]):
    """Read an expression over the digits 0 ... 4; after the last symbol, what is its value modulo 5?

    Without brackets
        Digits with ``+``, ``-`` or ``×`` between them, all uniform and independent; ``×`` comes first. A sequence of
        n symbols has ``(n + 1) / 2`` digits, or ``n / 2`` and ``=`` behind them; where n does not fit it is one less.
    With brackets
        ``d``, ``-d``, ``(d)`` and ``(-d)`` have 1 ... 4 symbols; longer ones are ``(l ∘ r)``, where the length of l is
        uniform on ``1 ... n - 4``.

    ========  ===================  =========================  =============================
    dialect   asks for the answer  operations with brackets   symbols of the bracketed part
    ========  ===================  =========================  =============================
    deletang  nothing              ``+ - ×``                  n
    grazzi    ``=``                ``+ -``                    n - 3, n at least 5
    slice     ``=``                ``+ - ×``                  n - 1
    ========  ===================  =========================  =============================

    Deletang et al. (2023); Grazzi et al. (2024), after Beck et al. (2024); Walker et al. (2025), *SLiCE*. Scores of
    different dialects are not comparable: with ``×`` in brackets a third of the answers is 0.

    Shapes: inputs int64 ``[T, B]``, targets int64 ``[B]``, 5 classes.
    """

    version = 2
    sizes = (len(expressions.SYMBOLS), expressions.MODULUS)
    names = expressions.SYMBOLS

    @property
    def _asks(self) -> bool:
        return self.options.dialect != "deletang"

    def _inside(self, lengths: Array) -> Array:
        """Symbols of the expression in sequences of so many."""
        if not self.options.brackets:
            inside: Array = np.maximum((lengths + (not self._asks)) // 2 * 2 - 1, 1)
        elif self.options.dialect == "grazzi":
            inside = np.maximum(lengths, FEWEST) - 3
        else:
            inside = np.maximum(lengths - self._asks, 1)
        return inside

    @cached_property
    def _steps(self) -> Array:
        """The steps of a sequence by the length that is asked for."""
        steps: Array = self._inside(np.arange(self.options.length + 1)) + self._asks
        return steps

    def shape(self, lengths: Array) -> Array:
        return self._steps.take(lengths)

    def make(self, rng: np.random.Generator, lengths: Array) -> tuple[Array, Array]:
        if not self.options.brackets:
            inputs, values = expressions.flat(rng, (lengths + 1) >> 1, int(self._asks))
        else:
            symbols, values = expressions.bracketed(
                rng, lengths - self._asks, 2 if self.options.dialect == "grazzi" else 3
            )
            inputs = np.zeros((len(symbols) + self._asks, len(lengths)), dtype=np.int64)
            inputs[: len(symbols)] = symbols
        if self._asks:
            inputs[lengths - 1, np.arange(len(lengths))] = expressions.NUMBER["="]
        return inputs, values

    def law(self, length: int) -> Array:
        inside = int(self._inside(np.array([length]))[0])
        if not self.options.brackets:
            sure = expressions.law_of_flat((inside + 1) // 2)
        elif self.options.dialect == "grazzi":
            sure = 0.0
        else:
            sure = expressions.laws_of_bracketed(inside)[inside]
        law = np.full(expressions.MODULUS, (1 - sure) / expressions.MODULUS)
        law[0] += sure
        return law

    def solve(self, inputs: Array, lengths: Array) -> Array:
        """Expression by expression, as a reader does."""
        texts = (
            "".join(self.names[symbol] for symbol in column[:n]) for column, n in zip(inputs.T, lengths, strict=True)
        )
        return np.array([expressions.value(text.rstrip("=")) for text in texts])
