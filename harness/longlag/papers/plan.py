"""From a paper study at a scale to what is run: entries, the searches before them, and the sweep that does it."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from longlag.errors import UserError
from longlag.objectives import objective_value
from longlag.papers.claims import ScaleName
from longlag.papers.spec import SEARCH_SEED, DrawSpec, PaperSpec
from longlag.spec import Range, RunSpec, SamplerSpec, StudySpec, read_by_run
from longlag.training import RunResult

Chosen = Mapping[str, Mapping[str, Any]]
"""By arm, the values that its search took."""


@dataclass(frozen=True)
class Entry:
    """One run of an arm.

    Args:
        arm: its condition.
        seed: of the run.
        spec: all of it.
        drawn: values that were searched or drawn for it, by dotted path.
    """

    arm: str
    seed: int
    spec: RunSpec
    drawn: Mapping[str, Any]

    @property
    def name(self) -> str:
        """In the study's space."""
        values = "".join(f" {path.rpartition('.')[2]} {value:.3g}" for path, value in self.drawn.items()
                         if isinstance(value, float))  # fmt: skip
        return f"{self.arm} seed {self.seed}{values}"


def entries(paper: PaperSpec, scale_name: ScaleName, chosen: Chosen) -> list[Entry]:
    """Every run that is judged. An arm whose search has no result yet has the first value of each field.

    Raises:
        UserError: when two arms are the same run, which would be compared with itself.
    """
    scale, result = paper.scales[scale_name], []
    owners: dict[str, str] = {}
    for arm in paper.run_arms(scale):
        own = paper.arms[arm]
        first = {path: values[0] for path, values in own.search.space.items()} if own.search else {}
        taken = {**first, **chosen.get(arm, {})}
        for seed in range(paper.seeds(arm, scale)):
            drawn = {**taken, **(draw(own.draws, seed) if own.draws else {})}
            entry = Entry(arm, seed, paper.run(arm, scale, seed, drawn), drawn)
            owner = owners.setdefault(entry.spec.run_key, arm)
            if owner != arm:
                raise UserError(
                    f"{paper.name}: the arms {owner} and {arm} are the same runs at scale {scale_name}: what sets them "
                    "apart is set again by the scale"
                )
            result.append(entry)
    return result


def searched(paper: PaperSpec, scale_name: ScaleName) -> list[Entry]:
    """Every run of the searches that come first; none where the scale does without."""
    scale, result = paper.scales[scale_name], []
    for arm in paper.run_arms(scale) if scale.search else ():
        search = paper.arms[arm].search
        if search is None:
            continue
        for point in _grid(search.space):
            for number in range(search.seeds):
                seed = SEARCH_SEED + number
                result.append(Entry(arm, seed, paper.run(arm, scale, seed, point), point))
    return result


def read_by(paper: PaperSpec, scale_name: ScaleName) -> list[str]:
    """Files, folders and data sets that the tasks of its runs read."""
    runs = [*searched(paper, scale_name), *entries(paper, scale_name, {})]
    return list(dict.fromkeys(name for run in runs for name in read_by_run(run.spec)))


def _grid(space: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))


def draw(draws: DrawSpec, number: int) -> dict[str, Any]:
    """The values of the `number`-th run; the same for every arm with these draws."""
    rng = np.random.default_rng([draws.seed, number])
    return {path: _value(axis, float(rng.random())) for path, axis in draws.space.items()}


def _value(axis: Range, share: float) -> int | float:
    low, high = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
    if axis.whole and not axis.log:
        return int(low + share * (high - low + 1))
    value = low + share * (high - low)
    value = math.exp(value) if axis.log else value
    return round(value) if axis.whole else float(f"{value:.6g}")


def choose(found: list[Entry], results: Mapping[str, RunResult]) -> dict[str, dict[str, Any]]:
    """By arm, the point with the lowest mean validation score; a diverged run is infinitely bad.

    Of equals the first in the study's file is taken. `results` are by run key.
    """
    scores = {key: objective_value("score", run) for key, run in results.items()}
    points: dict[str, list[tuple[dict[str, Any], list[float]]]] = {}
    for entry in found:
        of_arm = points.setdefault(entry.arm, [])
        if not of_arm or of_arm[-1][0] != dict(entry.drawn):
            of_arm.append((dict(entry.drawn), []))
        of_arm[-1][1].append(scores.get(entry.spec.run_key, math.inf))
    return {arm: min(all_of, key=lambda item: sum(item[1]) / len(item[1]))[0] for arm, all_of in points.items()}


def study(paper: PaperSpec, scale_name: ScaleName, of: list[Entry], part: str = "") -> StudySpec:
    """The sweep that runs entries: each is a trial of its own, so that workers share the seeds of an arm too.

    A few letters of a hash of all runs end its name: a study whose file has changed is another one, which takes the
    runs that it shares with the one before from there.
    """
    arms = {entry.name: entry.spec.model_dump(mode="json") for entry in sorted(of, key=lambda entry: entry.name)}
    keys = " ".join(sorted(entry.spec.run_key for entry in of))
    return StudySpec(
        name=f"{paper.name}-{scale_name}{part}-{hashlib.sha256(keys.encode()).hexdigest()[:6]}",
        description=f"{paper.citation.text} Scale {scale_name}: `longlag reproduce {paper.name} --scale {scale_name}`.",
        base={},
        arms=arms,  # with seeds, and every default spelled out
        sampler=SamplerSpec(name="grid"),
    )
