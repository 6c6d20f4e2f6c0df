"""How large states are and become."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from longlag.probes.base import Probe
from longlag.probes.rollout import CapturedInputs, rollout


def norms(captured: CapturedInputs) -> dict[str, NDArray[np.float64]]:
    """By state, the mean over the examples of its norm after each step, ``[T]``."""
    rows: dict[str, list[float]] = {name: [] for name in captured.state}
    for _, _, after in rollout(captured):
        for name, value in after.items():
            rows[name].append(float(value.norm(dim=-1).mean()))
    return {name: np.array(values) for name, values in rows.items()}


def growth(norms: NDArray[np.float64]) -> float:
    """log10 of the norm after the last step over that after the first; NaN where either is zero or not finite."""
    first, last = norms[0], norms[-1]
    usable = 0 < first < math.inf and 0 < last < math.inf
    return math.log10(last) - math.log10(first) if usable else math.nan


class StateNorms(Probe):
    """Norm of every state after the last step, and its growth from the first one (log10)."""

    examples = 16
    cost = "one pass"

    def measure(self, captured: CapturedInputs) -> Mapping[str, float]:
        found = {}
        for name, values in norms(captured).items():
            found[f"states/{name}_norm"] = float(values[-1])
            found[f"states/{name}_growth"] = growth(values)
        return found
