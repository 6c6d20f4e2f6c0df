"""What watches a run: gradient flow through time, gradient norms, Jacobians, saturation. See docs/gradient-flow.md.

Curves and pictures of them can be read and drawn without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag import lazy
from longlag.probes.flow import Curve, curves
from longlag.probes.scalars import Scalars

if TYPE_CHECKING:
    from longlag.probes.base import Probe
    from longlag.probes.norms import by_group
    from longlag.probes.rollout import CapturedInputs

__all__ = ["CapturedInputs", "Curve", "Probe", "Scalars", "by_group", "curves"]

_HOMES = {
    "CapturedInputs": "longlag.probes.rollout",
    "Probe": "longlag.probes.base",
    "by_group": "longlag.probes.norms",
}

if not TYPE_CHECKING:  # a type checker would take it for a promise that every name exists
    __getattr__ = lazy.names(__name__, _HOMES)
