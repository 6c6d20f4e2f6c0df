"""One step of a plan in numpy, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longlag.kernels.compiler.evaluate import evaluate
from longlag.kernels.compiler.graph import Node
from longlag.kernels.compiler.plan import Plan, Term, free_nodes

Array = NDArray[Any]
Values = dict[Node, Array]

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "pow": np.power, "sqrt": np.sqrt, "rsqrt": lambda a: 1 / np.sqrt(a),
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "erf": lambda a: np.vectorize(math.erf, [np.float64])(a).astype(np.asarray(a).dtype),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "sign": np.sign, "floor": np.floor,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "select": np.where,
}  # fmt: skip
"""Every operation that `longlag.kernels.compiler.lower` makes; a NaN comes through comparisons and extremes."""


class Weights:
    """Packed weights by their roles, or sums of their gradients.

    Args:
        plan: of the cell.
        flat: ``weight_ih, bias, bias_hh, *weight_hh, *units``.
    """

    def __init__(self, plan: Plan, flat: Sequence[Array | None]) -> None:
        self.plan, self.flat = plan, flat
        self.weight_ih, self.bias, self.bias_hh, *rest = flat
        self.weight_hh, self.units = rest[: plan.products], rest[plan.products :]

    def zeros(self) -> Weights:
        return Weights(self.plan, [None if array is None else np.zeros_like(array) for array in self.flat])

    def block(self, term: Term, size: int) -> Array:
        """The part of a recurrent weight that multiplies one source, a view."""
        matrix = self.weight_hh[term.product]
        assert matrix is not None
        return matrix[:, term.block * size : (term.block + 1) * size]

    def inputs(self, size: int) -> Iterator[tuple[slice, Array]]:
        """Blocks of the input weight, views, each with the slots that it fills."""
        for rows in self.plan.inputs if self.weight_ih is not None else ():
            yield slice(rows.slot, rows.slot + rows.count), part(self.weight_ih, rows.row, rows.count, size)

    def biases(self, size: int) -> Iterator[tuple[slice, Array]]:
        """Blocks of both biases, views, each with the slots that it fills."""
        for packed, groups in ((self.bias, self.plan.biases), (self.bias_hh, self.plan.recurrent_biases)):
            for rows in groups if packed is not None else ():
                yield slice(rows.slot, rows.slot + rows.count), part(packed, rows.row, rows.count, size)


def part(packed: Array | None, row: int, count: int, size: int) -> Array:
    assert packed is not None
    return packed[row * size : (row + count) * size]


class Step:
    """One step over a batch; slots are ``[S, B, H]``.

    Args:
        plan: of the cell.
        weights: of the cell.
        like: an array of the shape of a state.
    """

    def __init__(self, plan: Plan, weights: Weights, like: Array) -> None:
        self.plan, self.weights, self.shape, self.dtype = plan, weights, like.shape, like.dtype
        self.hidden = like.shape[-1]

    @np.errstate(all="ignore")  # a diverged run is not an error
    def forward(self, x: Array, old: Sequence[Array], exists: Array | None) -> tuple[list[Array], Values]:
        """The new states, and the values that the plan saves for the backward pass."""
        plan, size = self.plan, self.hidden
        slots = np.zeros((len(plan.slots), *self.shape), self.dtype)
        for where, weight in self.weights.inputs(size):
            slots[where] += self.split(x @ weight.T)
        for where, bias in self.weights.biases(size):
            slots[where] += bias.reshape(-1, 1, size)
        self.multiply(1, plan.states, old, slots)
        known = self.inputs(old)
        if plan.first is not None:
            early = known | {plan.graph.input(f"g:{name}"): slots[plan.slots.index(name)] for name in plan.early}
            values = self.evaluate(plan.first.outputs.values(), early)
            self.multiply(2, plan.intermediates, self.named(values, plan.first.outputs, plan.intermediates), slots)
            known |= values
        known |= {plan.graph.input(f"g:{name}"): slots[k] for k, name in enumerate(plan.slots)}
        values = self.evaluate([*plan.core.outputs.values(), *plan.saved], known)
        new = self.named(values, plan.core.outputs, plan.states)
        if exists is not None:
            new = [np.where(exists, after, before) for after, before in zip(new, old, strict=True)]
        return new, {node: values[node] for node in plan.saved}

    @np.errstate(all="ignore")
    def backward(
        self,
        x: Array,
        old: Sequence[Array],
        new: Sequence[Array],
        saved: Values,
        arrived: Sequence[Array],
        exists: Array | None,
        sums: Weights,
    ) -> tuple[Array, list[Array], list[Array]]:
        """From the gradients of the new states, every path but those within the step counted.

        Args:
            x: the inputs ``[B, I]``.
            old: the states before the step.
            new: the states after it.
            saved: what `forward` returned.
            arrived: the gradients of the new states.
            exists: ``[B, 1]``, false where the states were carried over; None where all exist.
            sums: of the weights' gradients; this step's are added.

        Returns:
            The gradients by the inputs and by the old states, and the total ones of the new states.
        """
        plan, size = self.plan, self.hidden
        free = free_nodes(plan.core, plan.states)
        by_name = dict(zip(plan.states, new, strict=True))
        known = self.inputs(old) | {n: by_name[name] for name, n in plan.core.outputs.items() if n in free} | saved
        gradients = {plan.graph.input(f"d:{name}"): a for name, a in zip(plan.states, arrived, strict=True)}
        core = self.evaluate([*plan.core.gradients.values(), *plan.core.totals.values()], known | gradients)
        by_slots = self.take(core, plan.core.gradients, "g", plan.slots, exists)
        by_units = self.take(core, plan.core.gradients, "p", plan.units, exists)
        by_old = self.named(core, plan.core.gradients, [f"s:{name}" for name in plan.states])
        totals = self.named(core, plan.core.totals, plan.states)
        if plan.first is not None:
            values = self.evaluate(plan.first.outputs.values(), known)
            middle = [self.existing(m, exists) for m in self.named(values, plan.first.outputs, plan.intermediates)]
            by_middle = [np.zeros_like(m) for m in middle]
            self.transposed(2, plan.intermediates, by_slots, by_middle)
            self.outer(2, plan.intermediates, by_slots, middle, sums)
            gradients = {plan.graph.input(f"d:{n}"): a for n, a in zip(plan.intermediates, by_middle, strict=True)}
            first = self.evaluate(plan.first.gradients.values(), known | gradients)
            early = self.take(first, plan.first.gradients, "g", plan.early, exists)
            for name, gradient in zip(plan.early, early, strict=True):
                by_slots[plan.slots.index(name)] += gradient
            by_units += self.take(first, plan.first.gradients, "p", plan.units, exists)
            carried = self.named(first, plan.first.gradients, [f"s:{name}" for name in plan.states])
            by_old = [a + b for a, b in zip(by_old, carried, strict=True)]
        if exists is not None:
            by_old = [np.where(exists, a, b) for a, b in zip(by_old, arrived, strict=True)]
            totals = [np.where(exists, a, b) for a, b in zip(totals, arrived, strict=True)]
        self.transposed(1, plan.states, by_slots, by_old)
        self.outer(1, plan.states, by_slots, old, sums)
        by_x = np.zeros_like(x)
        for (where, weight), (_, total) in zip(self.weights.inputs(size), sums.inputs(size), strict=True):
            by_x += self.joined(by_slots[where]) @ weight
            total += self.joined(by_slots[where]).T @ x
        for where, total in sums.biases(size):
            total += by_slots[where].sum(1).ravel()
        for unit, gradient in zip(sums.units, by_units, strict=True):
            assert unit is not None
            unit += gradient.sum(0)
        return by_x, by_old, totals

    def inputs(self, old: Sequence[Array]) -> Values:
        """What a core reads besides its slots: old states and per-unit parameters."""
        plan = self.plan
        known = {plan.graph.input(f"s:{name}"): array for name, array in zip(plan.states, old, strict=True)}
        for name, array in zip(plan.units, self.weights.units, strict=True):
            assert array is not None
            known[plan.graph.input(f"p:{name}")] = array
        return known

    def evaluate(self, roots: Iterable[Node], known: Values) -> Values:
        return evaluate(roots, known, OPERATIONS, self.dtype.type)

    def named(self, values: Values, nodes: Mapping[str, Node], names: Iterable[str]) -> list[Array]:
        """The values of some nodes, each with a number for every example and unit."""
        return [np.array(np.broadcast_to(values[nodes[name]], self.shape)) for name in names]

    def take(
        self, values: Values, nodes: Mapping[str, Node], kind: str, names: Sequence[str], exists: Array | None
    ) -> Array:
        """The gradients of slots or units, stacked; zero in the rows of examples whose step does not exist."""
        found = self.named(values, nodes, [f"{kind}:{name}" for name in names])
        return np.stack([self.existing(array, exists) for array in found]) if found else np.zeros(0)

    @staticmethod
    def existing(array: Array, exists: Array | None) -> Array:
        return array if exists is None else np.where(exists, array, array.dtype.type(0))

    def multiply(self, stage: int, names: Sequence[str], sources: Sequence[Array], slots: Array) -> None:
        """Add the recurrent products of a stage to their slots."""
        for term in self.terms(stage):
            product = sources[names.index(term.source)] @ self.weights.block(term, self.hidden).T
            slots[term.slot : term.slot + term.count] += self.split(product)

    def transposed(self, stage: int, names: Sequence[str], by_slots: Array, by_sources: Sequence[Array]) -> None:
        """Add the gradients that go through those products to the gradients of their sources, in place."""
        for term in self.terms(stage):
            rows = self.joined(by_slots[term.slot : term.slot + term.count])
            by_sources[names.index(term.source)][...] += rows @ self.weights.block(term, self.hidden)

    def outer(self, stage: int, names: Sequence[str], by_slots: Array, sources: Sequence[Array], sums: Weights) -> None:
        """Add the gradients of the recurrent weights of a stage to their sums, in place."""
        for term in self.terms(stage):
            rows = self.joined(by_slots[term.slot : term.slot + term.count])
            sums.block(term, self.hidden)[...] += rows.T @ sources[names.index(term.source)]

    def terms(self, stage: int) -> Iterator[Term]:
        return (term for term in self.plan.terms if term.stage == stage)

    def split(self, packed: Array) -> Array:
        """``[B, n H]`` as ``[n, B, H]``."""
        return packed.reshape(len(packed), -1, self.hidden).swapaxes(0, 1)

    def joined(self, slots: Array) -> Array:
        """``[n, B, H]`` as ``[B, n H]``."""
        return slots.swapaxes(0, 1).reshape(slots.shape[1], -1)
