"""How large states are and become, and how orthogonal a recurrent matrix is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from longlag.cells import GatedLayer, Layer
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


def orthogonality_error(layer: Layer) -> float | None:
    """The largest |sigma - 1| over the singular values of the recurrent matrix: 0 when it is orthogonal.

    None for a layer without one square recurrent matrix.
    """
    if not isinstance(layer, GatedLayer):
        return None
    matrices = layer.weights().weight_hh
    if len(matrices) != 1 or matrices[0].shape[0] != matrices[0].shape[1]:
        return None
    return float((torch.linalg.svdvals(matrices[0].detach().double()) - 1).abs().max())


def described(captured: CapturedInputs) -> Mapping[str, float]:
    """Norm at the end and growth of every state, by name."""
    found = {}
    for name, values in norms(captured).items():
        found[f"{name}_norm"] = float(values[-1])
        found[f"{name}_growth"] = growth(values)
    return found
