"""From a chain to a plan: its functions traced, and which values a backward pass keeps or computes again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from longlag.kernels.chain import Apply, Chain, Dense
from longlag.kernels.compiler.row_plan import make_row_plan
from longlag.kernels.compiler.scan_plan import ScanPlan


@dataclass(frozen=True)
class ChainPlan:
    """A chain, traced: everything that a target builds a kernel from.

    Args:
        chain: its steps.
        functions: the plan of each function, in the order in which steps first apply them.
        number: for every step that applies a function, its index among those.
    """

    chain: Chain
    functions: tuple[ScanPlan, ...]
    number: dict[Apply, int]

    @property
    def name(self) -> str:
        return self.chain.name

    @cached_property
    def values(self) -> tuple[str, ...]:
        return tuple(self.chain.values)

    @cached_property
    def kept(self) -> tuple[str, ...]:
        """What the forward pass keeps for the backward pass: products that later steps read. Parts lie in them."""
        read = {value for step in self.chain.steps for value in step.reads}
        return tuple(s.result for s in self.chain.steps if isinstance(s, Dense) and read & {*s.makes})

    @cached_property
    def again(self) -> tuple[Apply, ...]:
        """The steps that the backward pass computes again: functions whose results later steps read."""
        read = {value for step in self.chain.steps for value in step.reads}
        return tuple(s for s in self.chain.steps if isinstance(s, Apply) and read & {*s.results})


def make_chain_plan(chain: Chain) -> ChainPlan:
    """Trace the functions of `chain`.

    Raises:
        Untraceable: when one cannot be compiled.
    """
    applied = [step for step in chain.steps if isinstance(step, Apply)]
    functions = list({id(step.function): step.function for step in applied}.values())
    number = {step: functions.index(step.function) for step in applied}
    return ChainPlan(chain, tuple(map(make_row_plan, functions)), number)
