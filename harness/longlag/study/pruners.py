"""Pruners by the names that a study gives them."""

from __future__ import annotations

import optuna

from longlag.spec import PrunerSpec, StudySpec


def pruner(spec: StudySpec) -> optuna.pruners.BasePruner:
    """Optuna's pruner of a study. Its steps are updates with one seed, and seeds with several."""
    chosen: PrunerSpec = spec.pruner
    several = len(spec.seeds) > 1
    match chosen.name:
        case "median":
            warmup = 0 if several else chosen.warmup_updates
            return optuna.pruners.MedianPruner(chosen.startup_trials, n_warmup_steps=warmup)
        case "hyperband":
            training = spec.first().training
            least, most = (1, len(spec.seeds)) if several else (training.eval_every, training.updates)
            return optuna.pruners.HyperbandPruner(min_resource=min(least, most), max_resource=most)
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner(p_threshold=chosen.p_threshold)
        case "none":
            return optuna.pruners.NopPruner()
