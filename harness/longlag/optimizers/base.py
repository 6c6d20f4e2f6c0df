"""The optimizer contract, and how the optimizer of a run is made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import nn
from typing_extensions import TypeVar

from longlag.optimizers import torch_private
from longlag.options import Configurable, Options
from longlag.spec import OptimizerSpec

Groups = list[dict[str, Any]]
"""Parameter groups, as torch's optimizers take them: ``params``, and where they differ ``lr``, ``weight_decay``."""


class OptimizerOptions(Options):
    """Base of every optimizer's options: frozen, unknown fields refused. The schedule scales ``lr``."""

    later: ClassVar[tuple[str, ...]] = ("decayed",)

    lr: PositiveFloat = Field(1e-3, description="learning rate at the start of the schedule")
    constrained_lr: PositiveFloat | None = Field(
        None, description="lr of parameters behind orthogonal or unitary matrices, where it differs"
    )
    decayed: Literal["all", "weights"] = Field(
        "all", description="what weight_decay shrinks; weights: no biases, norms, initial states, rates of decay"
    )

    @model_validator(mode="after")
    def _something_decays(self) -> Self:
        if self.decayed != "all" and "weight_decay" not in type(self).model_fields:
            raise ValueError("decayed: this optimizer has no weight_decay")
        return self

    def arguments(self) -> dict[str, Any]:
        """All options but those that the groups carry: the arguments of a torch optimizer."""
        return self.model_dump(exclude={"constrained_lr", "decayed"})


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
    spec: OptimizerSpec,
    parameters: Sequence[nn.Parameter],
    constrained: Sequence[nn.Parameter] = (),
    undecayed: Sequence[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The torch optimizer that a spec describes.

    Args:
        spec: the optimizer and its options.
        parameters: all trainable parameters.
        constrained: those among them that ``constrained_lr`` is for.
        undecayed: those that weight decay leaves alone where ``decayed`` is ``weights``.
    """
    groups: Groups = [{"params": list(parameters)}]
    if spec.constrained_lr is not None and constrained:
        apart = {id(parameter) for parameter in constrained}
        groups = [
            {"params": [p for p in parameters if id(p) not in apart]},
            {"params": list(constrained), "lr": spec.constrained_lr},
        ]
    if spec.decayed == "weights":
        alone = {id(parameter) for parameter in undecayed}
        groups = [part for group in groups for part in _by_decay(group, alone)]
    torch_private.without_compiler()
    optimizer: Optimizer[OptimizerOptions] = spec.build()
    return optimizer.build(groups)


def _by_decay(group: dict[str, Any], alone: set[int]) -> Groups:
    """A group in two: what decays, and what does not."""
    decayed = [p for p in group["params"] if id(p) not in alone]
    others = [p for p in group["params"] if id(p) in alone]
    parts = [{**group, "params": decayed}, {**group, "params": others, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]]
