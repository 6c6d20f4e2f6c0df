"""How a cell runs over time."""

from harness.kernels.plain import unroll
from harness.kernels.record import StateGradients
from harness.kernels.recurrence import Gate, Layout, Product, Recurrence, State, Weights

__all__ = ["Gate", "Layout", "Product", "Recurrence", "State", "StateGradients", "Weights", "unroll"]
