"""What watches a run: gradient flow through time, gradient norms, Jacobians, saturation. See docs/gradient-flow.md."""

from longlag.probes.base import Probe
from longlag.probes.flow import Curve, curves
from longlag.probes.norms import by_group
from longlag.probes.rollout import CapturedInputs
from longlag.probes.scalars import Scalars

__all__ = ["CapturedInputs", "Curve", "Probe", "Scalars", "by_group", "curves"]
