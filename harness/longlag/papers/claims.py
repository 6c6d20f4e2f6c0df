"""Claims: published statements as testable relations between the quantities of a study's arms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from longlag.papers.quantity import Quantity, QuantityField
from longlag.spec import Spec

ScaleName = Literal["paper", "cpu", "smoke"]
Certainty = Literal["read", "code", "quoted", "recalled"]
KNOWN = {"read": "read", "code": "in the code", "quoted": "quoted", "recalled": "unverified"}
"""How a published figure is known, in a word or two."""
CERTAINTIES = {
    "read": "read in the paper's own text",
    "code": "read in the authors' code",
    "quoted": "read in another text that quotes it",
    "recalled": "from memory: unverified",
}


class Condition(Spec):
    """What a run fulfils or not: a quantity below or above a bound. ``solved`` needs no bound."""

    quantity: QuantityField
    below: float | None = None
    above: float | None = None
    unsolved: bool = Field(False, description="of `solved`: that it is not")

    @model_validator(mode="after")
    def _bound(self) -> Condition:
        bounds = (self.below is not None) + (self.above is not None)
        if self.quantity.kind == "solved":
            if bounds:
                raise ValueError("solved is a yes or no: leave out below and above (unsolved: true for the opposite)")
        elif bounds != 1 or self.unsolved:
            raise ValueError(f"{self.quantity}: should have a bound, either below or above")
        return self

    def met(self, value: float) -> bool:
        """Whether a run with this value fulfils it; a value that is not a number does not."""
        if math.isnan(value):
            return False
        if self.quantity.kind == "solved":
            return bool(value) != self.unsolved
        return value < self.below if self.below is not None else value > (self.above or 0.0)

    @property
    def text(self) -> str:
        if self.quantity.kind == "solved":
            return "not solved" if self.unsolved else "solved"
        sign, bound = ("<", self.below) if self.below is not None else (">", self.above)
        return f"{self.quantity} {sign} {bound:g}"


class OnArms(Condition):
    """A condition and the arms whose runs are held against it."""

    arms: tuple[str, ...] = Field(min_length=1)


class MostRuns(Spec):
    """In each of the arms, most runs fulfil their condition.

    The claim is that a run fulfils it with a probability of at least `holds`, in every arm; its opposite, that in some
    arm it does so with at most `fails`. Between the two lies what a few seeds cannot and need not tell apart.
    """

    kind: Literal["most-runs"]
    all_of: tuple[OnArms, ...] = Field(min_length=1)
    holds: float = Field(2 / 3, gt=0, lt=1)
    fails: float = Field(1 / 3, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> MostRuns:
        if self.fails >= self.holds:
            raise ValueError(f"fails ({self.fails:g}) should be below holds ({self.holds:g})")
        return self

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        for item in self.all_of:
            for arm in item.arms:
                yield arm, item.quantity


Place = str | tuple[str, ...]


class Order(Spec):
    """Every arm has a lower quantity than the next one (`lower`), or a higher one (`higher`).

    `order` lists arms, or groups of arms that are not compared with each other: ``[tcn, [lstm, gru], rnn]``. With a
    `factor` f above 1, lower by so much: f times an arm's quantity is still lower than the next one's.
    """

    kind: Literal["lower", "higher"]
    order: tuple[Place, ...] = Field(min_length=2)
    quantity: QuantityField
    factor: PositiveFloat = 1.0

    def pairs(self) -> list[tuple[str, str]]:
        """What is compared: which arm, with which other one."""
        groups = [(place,) if isinstance(place, str) else place for place in self.order]
        return [(a, b) for one, other in pairwise(groups) for a in one for b in other]

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        for arm in dict.fromkeys(arm for pair in self.pairs() for arm in pair):
            yield arm, self.quantity


class MoreOften(Condition):
    """More runs of one arm fulfil a condition than of another."""

    kind: Literal["more-often"]
    arm: str
    than: str

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        yield self.arm, self.quantity
        yield self.than, self.quantity


class Within(Spec):
    """The mean over an arm's runs lies between two numbers: the published one and what is allowed around it."""

    kind: Literal["within"]
    arm: str
    quantity: QuantityField
    low: float
    high: float
    log: bool = Field(False, description="the mean of the logarithms: the geometric mean is meant")

    @model_validator(mode="after")
    def _ordered(self) -> Within:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) should be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError("on a logarithmic scale low should be above 0")
        return self

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        yield self.arm, self.quantity


class Similar(Spec):
    """The means of two arms differ by less than `margin`, in the quantity's own units."""

    kind: Literal["similar"]
    arms: tuple[str, str]
    quantity: QuantityField
    margin: PositiveFloat
    why: str = Field("", description="why a smaller difference counts as none, beside the paper's effects")

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        for arm in self.arms:
            yield arm, self.quantity


class Trend(Spec):
    """A quantity rises, or falls, from arm to arm in the order given; of ``solved``, the success rate does."""

    kind: Literal["trend"]
    arms: tuple[str, ...] = Field(min_length=2)
    quantity: QuantityField
    direction: Literal["rises", "falls"]

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        for arm in self.arms:
            yield arm, self.quantity


class Importance(Spec):
    """Over an arm's draws, one drawn field explains more of a quantity's variance than another."""

    kind: Literal["importance"]
    arm: str
    quantity: QuantityField
    of: str = Field(description="dotted path of a drawn field")
    over: str = Field(description="dotted path of the other")

    def uses(self) -> Iterator[tuple[str, Quantity]]:
        yield self.arm, self.quantity


Relation = Annotated[MostRuns | Order | MoreOften | Within | Similar | Trend | Importance, Field(discriminator="kind")]


class Claim(Spec):
    """One published statement."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")
    statement: str = Field(description="in our words")
    source: str = Field(description="table, figure or section")
    certainty: Certainty
    published: str = Field(description="the figures, or what the curves show")
    relation: Relation
    scales: tuple[ScaleName, ...] = Field(("paper", "cpu"), description="where it can be judged")
    note: str = Field("", description="what stands between the relation and the statement")
