"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat

from longlag.optimizers import torch_private
from longlag.optimizers.base import Groups, Optimizer, OptimizerOptions

UnitInterval = Annotated[float, Field(ge=0, lt=1)]


class AdamOptions(OptimizerOptions):
    betas: tuple[UnitInterval, UnitInterval] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty added to the gradient")


class AdamWOptions(AdamOptions):
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam(fused=True)``, bit for bit, without what its ``step`` does around the kernel.

    For parameters on the CPU whose gradients all exist torch sorts its tensors by device and dtype at every step,
    which takes several times as long as the update of a small network. Everything else goes torch's own way, which
    imports torch's compiler.
    """

    @torch_private.unhooked
    def step(self, closure: Any = None) -> Any:
        if closure is not None or not all(map(self._plain, self.param_groups)):
            return super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                if group["params"][0] not in self.state:
                    torch_private.make_states(self, group)
                parameters, (beta1, beta2) = group["params"], group["betas"]
                states = [self.state[p] for p in parameters]
                counts = [state["step"] for state in states]
                torch._foreach_add_(counts, 1)
                kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
                kernel(
                    parameters, [p.grad for p in parameters], [state["exp_avg"] for state in states],
                    [state["exp_avg_sq"] for state in states], [], counts, lr=group["lr"], beta1=beta1, beta2=beta2,
                    weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
                )  # fmt: skip
        return None

    def _plain(self, group: dict[str, Any]) -> bool:
        """Whether all tensors of a group are on the CPU, of one dtype, have a gradient, and all or none a state."""
        parameters = group["params"]
        return (
            not group["amsgrad"]
            and not group["maximize"]
            and all(p.is_cpu and p.grad is not None for p in parameters)
            and all(p.dtype == parameters[0].dtype for p in parameters)
            and len({p in self.state for p in parameters}) == 1
        )


class Adam(Optimizer[AdamOptions]):
    """Adam as ``torch.optim.Adam``: Kingma and Ba (2015), with the paper's defaults."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return FusedAdam(groups, **self.options.arguments(), fused=True)


class AdamW(Optimizer[AdamWOptions]):
    """AdamW as ``torch.optim.AdamW``: Loshchilov and Hutter (2019), decay apart from the gradient."""

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return FusedAdam(groups, **self.options.arguments(), fused=True, decoupled_weight_decay=True)
