"""How orthogonal a recurrent matrix is."""

from __future__ import annotations

from collections.abc import Mapping

from longlag.cells import GatedLayer, Layer
from longlag.probes.base import Probe
from longlag.probes.rollout import CapturedInputs
from longlag.probes.spectra import singular_values


def orthogonality_error(layer: Layer) -> float | None:
    """The largest |sigma - 1| over the singular values of the recurrent matrix: 0 when it is orthogonal.

    None for a layer without one square recurrent matrix; NaN for a matrix with a number that is not finite.
    """
    if not isinstance(layer, GatedLayer):
        return None
    matrices = layer.weights().weight_hh
    if len(matrices) != 1 or matrices[0].shape[0] != matrices[0].shape[1]:
        return None
    return float((singular_values(matrices[0].detach().double()) - 1).abs().max())


class Orthogonality(Probe):
    """How far a recurrent matrix is from orthogonal: the largest |sigma - 1| over its singular values."""

    cost = "the singular values of a matrix"

    def measure(self, captured: CapturedInputs) -> Mapping[str, float]:
        error = orthogonality_error(captured.layer)
        return {} if error is None else {"jacobian/orthogonality_error": error}
