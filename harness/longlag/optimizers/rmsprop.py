"""RMSProp."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat

from longlag.optimizers.base import Groups, Optimizer, OptimizerOptions

UnitInterval = Annotated[float, Field(ge=0, lt=1)]


class RMSPropOptions(OptimizerOptions):
    alpha: UnitInterval = Field(0.9, description="decay of the squared-gradient average (paper 0.9, torch 0.99)")
    eps: PositiveFloat = 1e-8
    momentum: UnitInterval = 0.0
    centered: bool = Field(False, description="divide by the standard deviation (Graves 2013)")
    weight_decay: float = Field(0.0, ge=0)


class RMSProp(Optimizer[RMSPropOptions]):
    """RMSProp as ``torch.optim.RMSprop``: v <- alpha * v + (1 - alpha) g^2; w <- w - lr * g / (sqrt(v) + eps).

    Tieleman and Hinton (2012) use alpha = 0.9, as does Arjovsky et al. (2016); torch's default is 0.99.
    """

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(groups, **self.options.arguments())  # torch has no fused form of it
