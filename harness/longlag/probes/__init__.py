"""What watches a run: gradient flow through time, gradient norms, Jacobians, saturation. See docs/gradient-flow.md."""

from longlag.probes.flow import Curve, curves
from longlag.probes.norms import by_group
from longlag.probes.scalars import Scalars

__all__ = ["Curve", "Scalars", "by_group", "curves"]
