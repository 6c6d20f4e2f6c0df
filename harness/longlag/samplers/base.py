"""The sampler contract, and how the sampler of a study is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field
from typing_extensions import TypeVar

from longlag.options import Configurable, Options
from longlag.packages import Package
from longlag.spec import Space, StudySpec

if TYPE_CHECKING:
    import optuna


class SamplerOptions(Options):
    """Base of every sampler's options: frozen, unknown fields refused."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


SamplerOptionsT_co = TypeVar("SamplerOptionsT_co", bound=SamplerOptions, default=SamplerOptions, covariant=True)


class Sampler(Configurable[SamplerOptionsT_co], ABC):
    """A way to choose the points of a study, ``Sampler[ItsOptions]``; the registry holds subclasses, not instances.

    Attributes:
        exhaustive: whether it visits every point of a space without open ranges once, and then ends the study.
        adaptive: whether later points depend on the results of earlier ones.
        several_objectives: whether it can search for more than one objective.
        needs: optional packages that it imports when it is built.
    """

    version: ClassVar[int] = 1
    exhaustive: ClassVar[bool] = False
    adaptive: ClassVar[bool] = False
    several_objectives: ClassVar[bool] = True
    needs: ClassVar[tuple[Package, ...]] = ()

    @abstractmethod
    def build(self, space: Space, seed: int) -> optuna.samplers.BaseSampler:
        """Optuna's sampler for one trial.

        Args:
            space: the study's axes, for a sampler that depends on them.
            seed: differs from trial to trial, so that a continued study does not repeat its first proposals. A
                sampler that keeps its place in Optuna's storage uses ``self.options.seed`` in its stead.
        """


def build(spec: StudySpec, number: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler for trial `number` of a study."""
    sampler: Sampler[SamplerOptions] = spec.sampler.build()
    return sampler.build(spec.space, (spec.sampler.seed + number) % 2**32)
