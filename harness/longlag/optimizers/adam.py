"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat

from longlag.optimizers.base import Groups, Optimizer, OptimizerOptions

UnitInterval = Annotated[float, Field(ge=0, lt=1)]


class AdamOptions(OptimizerOptions):
    betas: tuple[UnitInterval, UnitInterval] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient")


class AdamWOptions(AdamOptions):
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")


class Adam(Optimizer[AdamOptions]):
    """Adam as ``torch.optim.Adam``: Kingma and Ba (2015), with the paper's defaults."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.Adam(groups, **self.options.arguments(), fused=True)


class AdamW(Optimizer[AdamWOptions]):
    """AdamW as ``torch.optim.AdamW``: Loshchilov and Hutter (2019), decay apart from the gradient."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.AdamW(groups, **self.options.arguments(), fused=True)
