"""Samplers and pruners by the names that a study gives them."""

from __future__ import annotations

from importlib.util import find_spec

import optuna

from harness.registry import UserError
from harness.spec import PrunerSpec, StudySpec
from harness.spec.axes import condition


def sampler(spec: StudySpec, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for trial `number`. Its seed is the trial's own, so that a continued study does not propose again
    what it proposed at first; QMC keeps its place in the storage and needs one seed throughout.
    """
    seed = (spec.sampler.seed + number) % 2**32
    match spec.sampler.name:
        case "grid":
            return optuna.samplers.BruteForceSampler(seed=seed)
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
