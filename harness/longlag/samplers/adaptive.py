"""Points that depend on the results so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag.packages import Package
from longlag.samplers.base import Sampler
from longlag.spec import Space
from longlag.spec.axes import condition

if TYPE_CHECKING:
    import optuna


class TPE(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011): good for any mixture of axes, conditional ones too."""

    adaptive = True

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        # With conditions, the axes that exist together are sampled together. Without, all axes exist together anyway.
        grouped = any(condition(axis) for axis in space.values())
        return optuna.samplers.TPESampler(seed=seed, group=grouped)


class GaussianProcess(Sampler):
    """Bayesian optimisation with a Gaussian process: for few trials on few axes."""

    adaptive = True

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.GPSampler(seed=seed)


class CMAES(Sampler):
    """Covariance matrix adaptation (Hansen 2016): for many trials on axes that are numbers."""

    adaptive = True
    several_objectives = False
    needs = (Package("cmaes", "longlag[search]", "the cmaes sampler"),)

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        from longlag.optuna_private import DataOnlyCMAES

        return DataOnlyCMAES(seed=seed, warn_independent_sampling=False)
