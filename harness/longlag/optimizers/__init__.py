"""Optimizers: how gradients become updates. Each is found by an entry point; docs/adding-an-optimizer.md."""

from longlag.optimizers.base import Groups, Optimizer, OptimizerOptions, build

__all__ = ["Groups", "Optimizer", "OptimizerOptions", "build"]
