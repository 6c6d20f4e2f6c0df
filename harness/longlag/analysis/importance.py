"""Which axes of a space matter: fANOVA and PED-ANOVA over the trials of a study, with their uncertainty.

Both look at the *ranks* of an objective, not at its values: a diverged run is infinitely bad, and ranks know infinity.
Pruned trials count with the score that they had reached; failed ones, which have none, do not count.

fANOVA (Hutter, Hoos and Leyton-Brown 2014; `longlag.analysis.fanova`): the share of the variance that an axis explains
alone, averaged over all others, on the surface that a random forest fits. What axes explain only together is in none of
the shares; they need not sum to 1. Axes on a logarithmic scale are looked at on that scale. An axis with a condition is
judged among the trials in which it exists, together with all axes that exist in each of those.

PED-ANOVA (Watanabe, Bansal and Hutter 2023; with conditions Iida and Watanabe 2026): how far the best tenth of the
trials is distributed otherwise along an axis than all of them, here as a share of the sum over the axes. It answers
another question than fANOVA: what one has to choose to be among the best, not what moves the result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from longlag import optuna_private
from longlag.analysis import fanova
from longlag.analysis.cache import ReportCache, digest
from longlag.analysis.ranks import Values, ranks
from longlag.analysis.result import StudyResult, TrialResult
from longlag.spec import Direction, Range, Space, label
from longlag.spec.axes import applies, choices, condition

Method = Literal["fanova", "ped-anova"]
NAMES: dict[Method, str] = {"fanova": "fANOVA", "ped-anova": "PED-ANOVA"}
FEWEST: dict[Method, int] = {"fanova": 12, "ped-anova": 30}
"""Trials below which nothing is said; PED-ANOVA looks at a tenth of them."""
RESAMPLES: dict[Method, int] = {"fanova": 20, "ped-anova": 50}
"""Of the bootstrap; a forest takes its time."""
QUICK = 300
"""Trials above which it takes seconds."""
TREES, TREES_RESAMPLED = 64, 16
WIDTH = 1.96
"""Standard errors to either side of an estimate: 95%."""


@dataclass(frozen=True)
class Importance:
    """How much one axis matters for one objective.

    Args:
        objective: of the study.
        method: ``fanova`` or ``ped-anova``.
        axis: dotted path.
        where: the condition under which the axis exists, in words; empty for one that always does.
        trials: how many were looked at.
        share: see this module's text; None where `reason` says why there is no number.
        low, high: the share plus and minus 1.96 standard errors, cut at 0 and 1. The standard error is that of a
            bootstrap over the trials, each resample with a forest of its own seed and fewer trees: the forest's own
            randomness is in it. With shares near 0 or 1 the interval is a rough one.
        reason: why there is no number.
    """

    objective: str
    method: Method
    axis: str
    where: str
    trials: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def importances(result: StudyResult, cache: ReportCache | None = None, quick: bool = False) -> list[Importance]:
    """Of every axis with more than one value, for every objective, by both methods.

    Args:
        result: the study.
        cache: what it has for the same trials is not computed again.
        quick: say how to compute it where that takes seconds.
    """
    space = {path: axis for path, axis in result.spec.space.items() if _varies(axis)}
    found: list[Importance] = []
    for objective, direction in zip(result.spec.objectives, result.directions, strict=True):
        counted = [trial for trial in result.trials if objective in trial.objectives]
        found += _cached(counted, space, objective, direction, cache, quick)
    return found


def _cached(
    trials: Sequence[TrialResult],
    space: Space,
    objective: str,
    direction: Direction,
    cache: ReportCache | None,
    quick: bool,
) -> list[Importance]:
    axes = {path: axis if isinstance(axis, list) else axis.model_dump(mode="json") for path, axis in space.items()}
    shows = digest(axes, direction, [[trial.number, trial.point, trial.objectives[objective]] for trial in trials])
    key = f"importance for {objective}"
    before = None if cache is None else cache.get(key, shows)
    if before is not None:
        return [Importance(**each) for each in before]
    if quick and len(trials) > QUICK:
        reason = f"{len(trials):,} trials take seconds: longlag report --importance"
        return [
            Importance(objective, method, path, "", len(trials), reason=reason) for path in space for method in NAMES
        ]
    found = _fanova(trials, space, objective, direction)
    found += _of(trials, space, objective, direction, "ped-anova", list(space), "")
    if cache is not None and any(each.share is not None for each in found):
        cache.put(key, shows, as_json(found))
    return found


def _varies(axis: Any) -> bool:
    values = choices(axis)
    return axis.low != axis.high if isinstance(axis, Range) else len(values or []) > 1


def _fanova(trials: Sequence[TrialResult], space: Space, objective: str, direction: Direction) -> list[Importance]:
    """Axes without a condition over all trials, the others over those in which they exist."""
    groups: dict[str, list[str]] = {}
    for path, axis in space.items():
        groups.setdefault(words(condition(axis)), []).append(path)
    found: list[Importance] = []
    for where, paths in groups.items():
        here = [trial for trial in trials if paths[0] in trial.point] if where else list(trials)
        shared = [path for path in space if all(path in trial.point for trial in here)]
        found += _of(
            here, {path: space[path] for path in shared or paths}, objective, direction, "fanova", paths, where
        )
    order = list(space)
    return sorted(found, key=lambda each: order.index(each.axis))


def words(wanted: Mapping[str, Sequence[Any]]) -> str:
    """A condition, for people."""
    return ", ".join(f"{path} {' or '.join(str(label(v)) for v in values)}" for path, values in wanted.items())


def _of(
    trials: Sequence[TrialResult],
    space: Space,
    objective: str,
    direction: Direction,
    method: Method,
    axes: list[str],
    where: str,
) -> list[Importance]:
    """The importance of some axes, by one method, over trials in which they are looked at together."""

    def silent(reason: str) -> list[Importance]:
        return [Importance(objective, method, path, where, len(trials), reason=reason) for path in axes]

    if len(trials) < FEWEST[method]:
        return silent(f"{len(trials)} trials; {NAMES[method]} needs {FEWEST[method]}")
    sign = 1 if direction == "minimize" else -1  # the best rank is the smallest
    targets = _ranks([sign * trial.objectives[objective] for trial in trials])
    if len(set(targets.tolist())) < 2:
        return silent("the objective is the same in all trials")
    evaluate = _forests(trials, space, targets) if method == "fanova" else _densities(trials, space, targets)
    everything = np.arange(len(trials))
    point = evaluate(everything, 0)
    if point is None:
        return silent("the axes explain nothing")
    random = np.random.default_rng(0)
    drawn: list[Mapping[str, float]] = []
    for seed in range(1, RESAMPLES[method] + 1):
        again = evaluate(random.integers(0, len(trials), len(trials)), seed)
        drawn += [] if again is None else [again]
    result = []
    for path in axes:
        values = [each[path] for each in drawn if path in each]
        share = float(point.get(path, 0.0))
        error = float(np.std(values, ddof=1)) if len(values) > 1 else 1.0
        low, high = max(0.0, share - WIDTH * error), min(1.0, share + WIDTH * error)
        result.append(Importance(objective, method, path, where, len(trials), share, low, high))
    return result


def _ranks(values: Sequence[float]) -> Values:
    """From 0 for the best to 1; equal values share a rank."""
    return (ranks(np.asarray(values)) - 1) / max(1, len(values) - 1)


Evaluate = Callable[[NDArray[np.int64], int], Mapping[str, float] | None]
"""From the numbers of trials, which may come more than once, and a seed, to the shares; None where there is nothing to
share out. Seed 0 is the estimate, others are resamples."""


def _forests(trials: Sequence[TrialResult], space: Space, targets: Values) -> Evaluate:
    """By fANOVA. Every trial has a value on every axis of the space."""

    def column(path: str, index: NDArray[np.int64]) -> fanova.Axis:
        axis, values = space[path], columns[path]
        found = choices(axis)
        if found is not None:
            return fanova.Choices([values[k] for k in index], len(found))
        assert isinstance(axis, Range)
        return fanova.Numbers([values[k] for k in index], _coordinate(axis, axis.low), _coordinate(axis, axis.last()))

    def numbers(path: str) -> list[Any]:
        found = choices(space[path])
        values = [_coordinate(space[path], trial.point[path]) for trial in trials]
        if found is None:
            return values
        place = {label(value): number for number, value in enumerate(found)}
        return [place[value] for value in values]

    columns = {path: numbers(path) for path in space}

    def evaluate(index: NDArray[np.int64], seed: int) -> Mapping[str, float] | None:
        axes = {path: column(path, index) for path in space}
        return fanova.shares(axes, targets[index], TREES_RESAMPLED if seed else TREES, seed)

    return evaluate


def _densities(trials: Sequence[TrialResult], space: Space, targets: Values) -> Evaluate:
    """By PED-ANOVA, as shares of the sum over the axes."""
    scales = {path: _distribution(axis) for path, axis in space.items()}
    frozen = []
    for trial, target in zip(trials, targets, strict=True):
        point = {path: trial.point[path] for path in space if path in trial.point and applies(space[path], trial.point)}
        params = {path: _coordinate(space[path], value) for path, value in point.items()}
        frozen.append((float(target), params, {path: scales[path] for path in params}))
    study = optuna_private.Trials(frozen)

    def evaluate(index: NDArray[np.int64], seed: int) -> Mapping[str, float] | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of too few trials in a resample; experimental
            found = optuna_private.ped_anova(study.some(index.tolist()), list(space))
        total = sum(found.values())
        return {path: float(share) / total for path, share in found.items()} if total > 0 else None

    return evaluate


def _distribution(axis: Any) -> BaseDistribution:
    values = choices(axis)
    if values is not None:
        return CategoricalDistribution([label(value) for value in values])
    low, high = _coordinate(axis, axis.low), _coordinate(axis, axis.last())
    return FloatDistribution(low, high)


def _coordinate(axis: Any, value: Any) -> Any:
    if not isinstance(axis, Range):
        return label(value)
    return math.log(value) if axis.log else float(value)


def as_json(found: Sequence[Importance]) -> list[dict[str, Any]]:
    return [asdict(each) for each in found]
