"""The learning-rate schedule, from its spec."""

from __future__ import annotations

import math

from longlag.spec import ScheduleSpec


def rate(spec: ScheduleSpec, update: int, budget: int) -> float:
    """The factor on the learning rate for update ``0 .. budget - 1``; a pure function, so nothing to restore."""
    match spec.name:
        case "constant":
            factor = 1.0
        case "step":
            factor = spec.gamma ** (update // spec.every)
        case "exponential":
            factor = spec.gamma ** (update / spec.every)
        case "cosine":
            factor = spec.floor + (1 - spec.floor) * 0.5 * (1 + math.cos(math.pi * update / budget))
        case "linear":
            factor = spec.floor + (1 - spec.floor) * (1 - update / budget)
    return factor * min(1.0, (update + 1) / spec.warmup) if spec.warmup else factor
