"""Objectives: what a study minimises or maximises. Each is found by an entry point; docs/adding-an-objective.md."""

from longlag.objectives.base import Objective, load, mean, objective_value

__all__ = ["Objective", "load", "mean", "objective_value"]
