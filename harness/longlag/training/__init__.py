"""The loop, budget, checkpoints and seeding. What a result is can be imported without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag import lazy
from longlag.training.result import Outcome, Pruned, RunCallback, RunResult, is_solved

if TYPE_CHECKING:
    from longlag.training.data import Split
    from longlag.training.loop import train

__all__ = ["Outcome", "Pruned", "RunCallback", "RunResult", "Split", "is_solved", "train"]

_HOMES = {"Split": "longlag.training.data", "train": "longlag.training.loop"}

if not TYPE_CHECKING:  # a type checker would take it for a promise that every name exists
    __getattr__ = lazy.names(__name__, _HOMES)
