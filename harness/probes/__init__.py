"""What watches a run: gradient flow through time and gradient norms over parameters."""

from harness.probes.flow import Curve, curves
from harness.probes.norms import by_group

__all__ = ["Curve", "by_group", "curves"]
