"""The optimizer contract, and how the optimizer of a run is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import nn
from typing_extensions import TypeVar

from longlag.options import Configurable, Options
from longlag.spec import OptimizerSpec

Groups = list[dict[str, Any]]
"""Parameter groups, as torch's optimizers take them: ``params``, and where it differs ``lr``."""


class OptimizerOptions(Options):
    """Base of every optimizer's options: frozen, unknown fields refused. The schedule scales ``lr``."""

    lr: PositiveFloat = Field(1e-3, description="learning rate at the start of the schedule")
    constrained_lr: PositiveFloat | None = Field(
        None, description="lr of parameters behind orthogonal or unitary matrices, where it differs"
    )

    def arguments(self) -> dict[str, Any]:
        """All options but ``constrained_lr``, which the groups carry: the arguments of a torch optimizer."""
        return self.model_dump(exclude={"constrained_lr"})


OptimizerOptionsT_co = TypeVar("OptimizerOptionsT_co", bound=OptimizerOptions, default=OptimizerOptions, covariant=True)


class Optimizer(Configurable[OptimizerOptionsT_co], ABC):
    """An update rule with options, ``Optimizer[ItsOptions]``; the registry holds subclasses, not instances.

    Attributes:
        version: raise it when a change alters the numbers of a run; it is part of the run's identity.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """The torch optimizer of these parameter groups.

        Its state for a parameter holds tensors and JSON values; checkpoints keep it. The training loop sets ``lr`` of
        every group before each step.
        """


def build(
    spec: OptimizerSpec, parameters: Sequence[nn.Parameter], constrained: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """The torch optimizer that a spec describes.

    Args:
        spec: the optimizer and its options.
        parameters: all trainable parameters.
        constrained: those among them that ``constrained_lr`` is for.
    """
    groups: Groups = [{"params": list(parameters)}]
    if spec.constrained_lr is not None and constrained:
        apart = {id(parameter) for parameter in constrained}
        groups = [
            {"params": [p for p in parameters if id(p) not in apart]},
            {"params": list(constrained), "lr": spec.constrained_lr},
        ]
    optimizer: Optimizer[OptimizerOptions] = spec.build()
    return optimizer.build(groups)
