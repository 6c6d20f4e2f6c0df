"""Which axes of a space matter: fANOVA and PED-ANOVA over the trials of a study, with their uncertainty.

Both look at the *ranks* of an objective, not at its values: a diverged run is infinitely bad, and ranks know infinity.
Pruned trials count with the score that they had reached; failed ones, which have none, do not count.

fANOVA (Hutter, Hoos and Leyton-Brown 2014): the share of the variance that an axis explains alone, averaged over all
others, on the surface that a random forest fits. What axes explain only together is in none of the shares; they need
not sum to 1. Axes on a logarithmic scale are looked at on that scale. An axis with a condition is judged among the
trials in which it exists, together with all axes that exist in each of those.

PED-ANOVA (Watanabe, Bansal and Hutter 2023; with conditions Iida and Watanabe 2026): how far the best tenth of the
trials is distributed otherwise along an axis than all of them, here as a share of the sum over the axes. It answers
another question than fANOVA: what one has to choose to be among the best, not what moves the result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from longlag.analysis.result import StudyResult, TrialResult
from longlag.spec import Direction, Range, Space, label
from longlag.spec.axes import applies, choices, condition

Method = Literal["fanova", "ped-anova"]
NAMES: dict[Method, str] = {"fanova": "fANOVA", "ped-anova": "PED-ANOVA"}
FEWEST: dict[Method, int] = {"fanova": 12, "ped-anova": 30}
"""Trials below which nothing is said; PED-ANOVA looks at a tenth of them."""
RESAMPLES: dict[Method, int] = {"fanova": 20, "ped-anova": 50}
"""Of the bootstrap; a forest takes its time."""
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


def importances(result: StudyResult) -> list[Importance]:
    """Of every axis with more than one value, for every objective, by both methods."""
    space = {path: axis for path, axis in result.spec.space.items() if _varies(axis)}
    found: list[Importance] = []
    for objective, direction in zip(result.spec.objectives, result.directions, strict=True):
        counted = [trial for trial in result.trials if objective in trial.objectives]
        found += _fanova(counted, space, objective, direction)
        found += _of(counted, space, objective, direction, "ped-anova", list(space), "")
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
    asked: list[str],
    where: str,
) -> list[Importance]:
    """The importance of the axes `asked` for, by one method, over trials in which they are looked at together."""

    def silent(reason: str) -> list[Importance]:
        return [Importance(objective, method, path, where, len(trials), reason=reason) for path in asked]

    if len(trials) < FEWEST[method]:
        return silent(f"{len(trials)} trials; {NAMES[method]} needs {FEWEST[method]}")
    sign = 1 if direction == "minimize" else -1  # the best rank is the smallest
    ranks = _ranks([sign * trial.objectives[objective] for trial in trials])
    if len(set(ranks.tolist())) < 2:
        return silent("the objective is the same in all trials")
    frozen = _frozen(trials, space, ranks)
    point = _evaluate(frozen, list(space), method, seed=0)
    if point is None:
        return silent("the axes explain nothing")
    random = np.random.default_rng(0)
    drawn: list[dict[str, float]] = []
    for seed in range(1, RESAMPLES[method] + 1):
        index = random.integers(0, len(frozen), len(frozen))
        again = _evaluate([frozen[k] for k in index], list(space), method, seed)
        drawn += [] if again is None else [again]
    result = []
    for path in asked:
        values = [each[path] for each in drawn if path in each]
        share = float(point.get(path, 0.0))
        error = float(np.std(values, ddof=1)) if len(values) > 1 else 1.0
        low, high = max(0.0, share - WIDTH * error), min(1.0, share + WIDTH * error)
        result.append(Importance(objective, method, path, where, len(trials), share, low, high))
    return result


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """From 0 for the best to 1; equal values share a rank."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = (rankdata(values) - 1) / max(1, len(values) - 1)
    return ranks


def _frozen(trials: Sequence[TrialResult], space: Space, ranks: NDArray[np.float64]) -> list[FrozenTrial]:
    """Trials as Optuna takes them, with ranks for values and logarithms on logarithmic axes."""
    scales = {path: _distribution(axis) for path, axis in space.items()}
    found = []
    for trial, rank in zip(trials, ranks, strict=True):
        point = {path: trial.point[path] for path in space if path in trial.point and applies(space[path], trial.point)}
        params = {path: _coordinate(space[path], value) for path, value in point.items()}
        distributions = {path: scales[path] for path in params}
        found.append(
            create_trial(state=TrialState.COMPLETE, value=float(rank), params=params, distributions=distributions)
        )
    return found


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


def _evaluate(
    trials: Sequence[FrozenTrial], paths: Sequence[str], method: Method, seed: int
) -> dict[str, float] | None:
    """The shares; None where there is nothing to share out. Seed 0 is the estimate, others are resamples."""
    study = optuna.create_study()
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of too few trials in a resample; experimental
        try:
            if method == "fanova":
                evaluator = optuna.importance.FanovaImportanceEvaluator(
                    n_trees=TREES_RESAMPLED if seed else TREES, seed=seed
                )
                return dict(evaluator.evaluate(study, params=list(paths)))
            there = [path for path in paths if any(path in trial.params for trial in trials)]
            found = optuna.importance.PedAnovaImportanceEvaluator().evaluate(study, params=there)
        except RuntimeError:  # no variance in any tree
            return None
    total = sum(found.values())
    return {path: float(share) / total for path, share in found.items()} if total > 0 else None


def as_json(found: Sequence[Importance]) -> list[dict[str, Any]]:
    return [asdict(each) for each in found]
