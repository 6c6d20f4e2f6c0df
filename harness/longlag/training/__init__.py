"""The loop, optimizers, budget and seeding."""

from longlag.training.data import Split
from longlag.training.loop import train
from longlag.training.result import Outcome, Pruned, RunCallback, RunResult, is_solved

__all__ = ["Outcome", "Pruned", "RunCallback", "RunResult", "Split", "is_solved", "train"]
