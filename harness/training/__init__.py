"""The loop, optimizers, budget and seeding."""

from harness.training.data import Split
from harness.training.loop import train
from harness.training.result import Listener, Outcome, Pruned, RunResult

__all__ = ["Listener", "Outcome", "Pruned", "RunResult", "Split", "train"]
