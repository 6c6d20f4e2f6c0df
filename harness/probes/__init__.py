"""What watches a run: gradient flow through time, gradient norms, Jacobians, saturation. See docs/gradient-flow.md."""

from harness.probes.flow import Curve, curves
from harness.probes.norms import by_group
from harness.probes.scalars import Scalars

__all__ = ["Curve", "Scalars", "by_group", "curves"]
