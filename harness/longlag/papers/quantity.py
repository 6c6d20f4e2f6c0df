"""The quantities that claims speak of, written as words: ``score``, ``updates to score 0.1``, ``test accuracy`` ..."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from longlag.errors import quoted

Kind = Literal[
    "score", "metric", "beyond", "solved", "updates to solved", "updates to score", "gradient", "seconds", "parameters"
]

MEANINGS = {
    "score": "first metric on the test split, 0 for a perfect model and 1 for the trivial predictor",
    "validation score": "the same on the validation split, at the last evaluation",
    "test METRIC": "a metric of the task on the test split",
    "validation METRIC": "a metric of the task on the validation split, at the last evaluation",
    "beyond SPLIT METRIC": "a metric on a further test split, such as a longer lag",
    "solved": "whether the task's criterion was met within the budget",
    "updates to solved": "update of the first evaluation that met the criterion; beyond the budget when none did",
    "updates to score X": "update of the first evaluation with a validation score below X; beyond the budget when none",
    "gradient NAME": "a gradient-flow scalar of the run, such as initial_horizon",
    "seconds": "wall time of the run",
    "parameters": "trainable numbers",
}
_FORMS: list[tuple[str, Kind]] = [
    (r"(?P<split>validation) score|score", "score"),
    (r"solved", "solved"),
    (r"updates to solved", "updates to solved"),
    (r"updates to score (?P<share>\d*\.?\d+(?:e-?\d+)?)", "updates to score"),
    (r"gradient (?P<name>[a-z0-9_]+)", "gradient"),
    (r"seconds", "seconds"),
    (r"parameters", "parameters"),
    (r"beyond (?P<split>[A-Za-z0-9_-]+) (?P<name>[a-z0-9_]+)", "beyond"),
    (r"(?P<split>test|validation) (?P<name>[a-z0-9_]+)", "metric"),
]


@dataclass(frozen=True)
class Quantity:
    """One number of a run.

    Args:
        text: as it is written in claims and tables.
        kind: which.
        split: of a score or metric.
        name: of a metric or gradient scalar.
        share: of ``updates to score``.
    """

    text: str
    kind: Kind
    split: str = "test"
    name: str = ""
    share: float = 0.0

    @property
    def censored(self) -> bool:
        """Whether a run may end before the number is known, which then is above the budget."""
        return self.kind in ("updates to solved", "updates to score")

    def __str__(self) -> str:
        return self.text


def parse(text: Any) -> Quantity:
    """The quantity that some words name.

    Raises:
        ValueError: when they name none.
    """
    if isinstance(text, Quantity):
        return text
    words = " ".join(str(text).split())
    for pattern, kind in _FORMS:
        match = re.fullmatch(pattern, words)
        if match:
            found = {key: value for key, value in match.groupdict().items() if value is not None}
            share = float(found.pop("share", 0))
            return Quantity(words, kind, share=share, **found)
    raise ValueError(f"there is no quantity {quoted(words)}; there are: {', '.join(MEANINGS)}")


QuantityField = Annotated[
    Quantity,
    BeforeValidator(parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": f"one of: {', '.join(MEANINGS)}"}),
]
"""A quantity in a spec, written as text."""
