"""Points that do not depend on results: at random, and evenly spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag.samplers.base import Sampler
from longlag.spec import Space

if TYPE_CHECKING:
    import optuna


class Random(Sampler):
    """Independent uniform points (Bergstra and Bengio 2012)."""

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)


class QuasiRandom(Sampler):
    """A Sobol' sequence: points spread more evenly than random ones; at its best with powers of two."""

    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        import optuna

        # the place in the sequence is kept in the storage, and belongs to one seed
        return optuna.samplers.QMCSampler(seed=self.options.seed, warn_independent_sampling=False)
