"""A sample of a kept report's runs, trained again: whether its numbers come out on this machine and build."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from longlag.errors import UserError
from longlag.papers import plan
from longlag.papers.measurements import PaperMeasurements, PaperRun
from longlag.papers.quantity import parse
from longlag.papers.run_values import value_of
from longlag.papers.spec import PaperSpec
from longlag.training import RunCallback, RunResult, train

ROUNDING = 1e-3
"""How far a number may lie from the kept one, in shares of it or of 1, and still agree within rounding.

Another compiler or processor sums in another order. Differences in the seventh digit grow over the updates of a run.
"""

Agreement = Literal["equal", "within rounding", "differs"]
AGREEMENTS: tuple[Agreement, ...] = ("equal", "within rounding", "differs")


@dataclass(frozen=True)
class Checked:
    """One run, kept and again.

    Args:
        run: as it was kept.
        result: as it came out.
        values: by quantity, the kept number and the new one.
    """

    run: PaperRun
    result: RunResult
    values: Mapping[str, tuple[float, float]]

    @property
    def differing(self) -> dict[str, tuple[float, float]]:
        return {name: pair for name, pair in self.values.items() if agreement(*pair) == "differs"}

    @property
    def agreement(self) -> Agreement:
        """The worst of all quantities."""
        found = [agreement(*pair) for pair in self.values.values()]
        return next((one for one in AGREEMENTS[::-1] if one in found), "equal")


class _Curve(RunCallback):
    """Validation score by update."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.points.append((update, score))


def agreement(kept: float, again: float) -> Agreement:
    """How a number came out again; two that are none are equal."""
    if kept == again or (math.isnan(kept) and math.isnan(again)):
        return "equal"
    near = math.isfinite(kept) and abs(kept - again) <= ROUNDING * max(1.0, abs(kept))
    return "within rounding" if near else "differs"


def sample(measurements: PaperMeasurements, count: int) -> list[PaperRun]:
    """The runs to train again, the same ones every time: by a hash of their keys, one of each arm before a second."""

    def mixed(run: PaperRun) -> bytes:
        return hashlib.sha256(run.run_key.encode()).digest()

    of_arm: dict[str, list[PaperRun]] = {}
    for run in sorted(measurements.runs, key=mixed):
        of_arm.setdefault(run.arm, []).append(run)
    turns = [(number, mixed(run), run) for runs in of_arm.values() for number, run in enumerate(runs)]
    return [run for _, _, run in sorted(turns, key=lambda turn: turn[:2])][:count]


def repeat(paper: PaperSpec, measurements: PaperMeasurements, runs: Sequence[PaperRun]) -> Iterator[Checked]:
    """Train runs again, one after the other; nothing is kept of them.

    Raises:
        UserError: for a run that the study's file no longer describes.
    """
    entries = {(entry.arm, entry.seed): entry for entry in plan.entries(paper, measurements.scale, measurements.chosen)}
    for run in runs:
        entry = entries.get((run.arm, run.seed))
        if entry is None or entry.spec.run_key != run.run_key:
            raise UserError(
                f"{paper.name}: {run.arm} seed {run.seed} is another run than the one that was kept, because the "
                f"study's file has changed; measure again: longlag reproduce {paper.name} --scale {measurements.scale}"
            )
        curve = _Curve()
        result = train(entry.spec, [curve])
        values = {
            name: (kept, value_of(result, parse(name), curve.points))
            for name, kept in run.values.items()
            if name != "seconds"
        }
        yield Checked(run, result, values | {"updates": (float(run.updates), float(result.updates))})
