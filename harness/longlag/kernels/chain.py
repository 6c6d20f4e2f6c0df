"""Chains of dense products and functions of rows: what stands around a recurrence, every step by itself.

A chain computes values of many rows, each from the same row of its inputs alone. So a kernel may take a few rows
through all of it before the next, and what lies between the steps never leaves the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from longlag.kernels.recurrence import Named

Shape = tuple[int, ...]


class Rows(Protocol):
    """A function of rows; `longlag.kernels.rows.RowFunction` says what it means."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def parameters(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def core(self, x: Named, p: Named) -> Mapping[str, Tensor]: ...


class Dense(NamedTuple):
    """``result = sum of W value over the terms + bias``.

    Args:
        result: its name.
        terms: a value and a weight ``[O, C]`` each.
        bias: a parameter ``[O]``, if any.
        parts: names of the result's columns in equal parts, read in place of the whole.
    """

    result: str
    terms: tuple[tuple[str, str], ...]
    bias: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(value for value, _ in self.terms)

    @property
    def makes(self) -> tuple[str, ...]:
        return self.parts or (self.result,)


class Apply(NamedTuple):
    """A function of rows.

    A row is as long as the function's parameters ``[m, K]``, of which every m-th row reads the same one; without
    parameters as the last axis of its first value. A value of several times that size is so many rows.

    Args:
        function: what is computed.
        values: what it reads, in the order of its inputs.
        results: names of what it returns, in the order of its outputs.
        parameters: names of its parameters, in their order.
    """

    function: Rows
    values: tuple[str, ...]
    results: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return self.values

    @property
    def makes(self) -> tuple[str, ...]:
        return self.results


@dataclass(frozen=True, eq=False)
class Chain:
    """Steps, one after the other.

    Args:
        name: for people.
        inputs: names of the values that are given.
        parameters: names of weights, biases and parameters of functions.
        steps: every value is made before it is read.
        outputs: the values that are results. No step reads them; every other value is read.

    Attributes:
        kernels: what it was compiled to, see `longlag.kernels.compiled`.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    steps: tuple[Dense | Apply, ...]
    outputs: tuple[str, ...]
    kernels: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        known, read = [*self.inputs], set[str]()
        for step in self.steps:
            if unknown := {*step.reads} - {*known}:
                raise ValueError(f"the chain {self.name} reads {', '.join(sorted(unknown))} before it is made")
            read.update(step.reads)
            known += step.makes
        if len({*known}) < len(known):
            raise ValueError(f"the chain {self.name} makes a value twice")
        if read & {*self.outputs} or read | {*self.outputs} != {*known}:
            raise ValueError(f"a value of the chain {self.name} is read or a result, and not both")
        if any({*step.parts} & {*self.outputs} for step in self.steps if isinstance(step, Dense)):
            raise ValueError(f"a result of the chain {self.name} is a part of another value")

    @property
    def values(self) -> Iterator[str]:
        """All of them: inputs, then results, with their parts behind them."""
        yield from self.inputs
        for step in self.steps:
            if isinstance(step, Dense):
                yield step.result
                yield from step.parts
            else:
                yield from step.results

    def shapes(self, inputs: Sequence[Shape], parameters: Sequence[Shape]) -> dict[str, Shape]:
        """The axes of every value behind those of the rows, from those of the inputs and the parameters' shapes.

        Raises:
            ValueError: for a weight or parameter that does not fit.
        """
        own = dict(zip(self.inputs, inputs, strict=True))
        given = dict(zip(self.parameters, parameters, strict=True))
        for step in self.steps:
            if isinstance(step, Dense):
                size = given[step.terms[0][1]][0]
                for value, weight in step.terms:
                    self._expect(weight, given[weight], (size, math.prod(own[value])))
                if step.bias is not None:
                    self._expect(step.bias, given[step.bias], (size,))
                own[step.result] = (size,)
                own.update(dict.fromkeys(step.parts, (size // max(1, len(step.parts)),)))
            else:
                first, length = own[step.values[0]], self.length(step, own, given)
                for value in step.values:
                    self._expect(value, (math.prod(own[value]),), (math.prod(first),))
                for name in step.parameters:
                    self._expect(name, given[name][1:], (length,))
                own.update(dict.fromkeys(step.results, first))
        return own

    def length(self, step: Apply, own: Mapping[str, Shape], given: Mapping[str, Shape]) -> int:
        """Numbers of a row of a function."""
        return given[step.parameters[0]][-1] if step.parameters else own[step.values[0]][-1]

    def _expect(self, name: str, shape: Shape, wanted: Shape) -> None:
        if shape != wanted:
            raise ValueError(f"{name} of the chain {self.name} has shape {list(shape)}, expected {list(wanted)}")
