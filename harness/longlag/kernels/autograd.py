"""What torch.autograd does around a function of one's own, without its cost where it is not needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.autograd import function


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """torch's decorator of that name, without its cost where no second derivative is needed."""
    guarded = function.once_differentiable(backward)

    @wraps(backward)
    def either(ctx: Any, *gradients: Any) -> Any:
        return guarded(ctx, *gradients) if torch.is_grad_enabled() else backward(ctx, *gradients)

    return either


def apply(node: type[torch.autograd.Function], *arguments: Any) -> Any:
    """``node.apply(*arguments)``, without its preparations for the transforms of torch.func where none is active.

    They look at every argument, which takes as long as a compiled loop over ten steps.
    """
    if torch._C._are_functorch_transforms_active():
        return node.apply(*arguments)
    return super(torch.autograd.Function, node).apply(*arguments)  # type: ignore[misc]
