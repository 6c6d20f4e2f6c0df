"""Gradient norms over parameters, read after ``backward`` and before clipping."""

from __future__ import annotations

import torch
from torch import nn


def by_group(groups: dict[str, list[nn.Parameter]]) -> dict[str, float]:
    """The L2 norm of the gradient of all parameters (``global``) and of each group of parameters.

    Accumulated in float64, so that tiny gradients do not underflow when they are squared. NaN and infinity come
    through.
    """
    squares = {
        name: sum(
            (p.grad.detach().double().square().sum() for p in parameters if p.grad is not None),
            start=torch.zeros((), dtype=torch.float64),
        )
        for name, parameters in groups.items()
    }
    total = torch.stack(list(squares.values())).sum()
    norms = torch.stack([total, *squares.values()]).sqrt().tolist()
    return dict(zip(["global", *squares], norms, strict=True))
