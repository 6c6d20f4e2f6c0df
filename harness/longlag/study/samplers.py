"""Samplers and pruners by the names that a study gives them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from longlag.errors import UserError
from longlag.spec import PrunerSpec, Space, StudySpec
from longlag.spec.axes import condition
from longlag.study.space import suggest


class Grid(optuna.samplers.BruteForceSampler):
    """Every point once, in random order.

    A trial whose process died before it had all of its values stands for no point. Optuna takes it for one, at an inner
    node of its tree, and then either proposes nothing below that node or nothing at all, with an error.
    """

    def __init__(self, axes: Space, seed: int) -> None:
        super().__init__(seed=seed)
        self.axes = axes

    def _populate_tree(  # type: ignore[override]  # static there
        self, tree: Any, trials: list[FrozenTrial], params: dict[str, Any]
    ) -> None:
        whole = [trial for trial in trials if trial.state is not TrialState.FAIL or self.complete(trial)]
        super()._populate_tree(tree, whole, params)

    def complete(self, trial: FrozenTrial) -> bool:
        """Whether a trial has a value for every axis that exists at its point."""
        try:
            suggest(optuna.trial.FixedTrial(trial.params), self.axes)
        except ValueError:
            return False
        return True


def sampler(spec: StudySpec, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`. Its seed is the trial's own, so that a continued study does not propose again
    what it proposed at first; QMC keeps its place in the storage and needs one seed throughout.
    """
    seed = (spec.sampler.seed + number) % 2**32
    match spec.sampler.name:
        case "grid":
            return Grid(spec.space, seed)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "qmc":
            return optuna.samplers.QMCSampler(seed=spec.sampler.seed, warn_independent_sampling=False)
        case "tpe":
            # with conditions, axes that stand together are sampled together; else all are, and it makes no difference
            grouped = any(condition(axis) for axis in spec.space.values())
            return optuna.samplers.TPESampler(seed=seed, group=grouped)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed)
        case "cmaes":
            if find_spec("cmaes") is None:  # without it every trial would fail
                raise UserError("the cmaes sampler needs the package cmaes: pip install 'longlag[search]'")
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def pruner(spec: StudySpec) -> optuna.pruners.BasePruner:
    """Steps are updates with one seed, and seeds with several."""
    asked: PrunerSpec = spec.pruner
    several = len(spec.seeds) > 1
    match asked.name:
        case "median":
            warmup = 0 if several else asked.warmup_updates
            return optuna.pruners.MedianPruner(asked.startup_trials, n_warmup_steps=warmup)
        case "hyperband":
            training = spec.first().training
            least, most = (1, len(spec.seeds)) if several else (training.eval_every, training.updates)
            return optuna.pruners.HyperbandPruner(min_resource=min(least, most), max_resource=most)
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner(p_threshold=asked.p_threshold)
        case "none":
            return optuna.pruners.NopPruner()
