"""What the store says of runs and studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from longlag.training import RunResult


@dataclass(frozen=True)
class Recorded:
    """A run as it stands in the store.

    Args:
        run_id: MLflow's.
        experiment_id: where it is.
        status: MLflow's: ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED``.
        tags: all of them.
        result: what it returned; None for a run that failed or still trains.
    """

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str] = field(repr=False)
    result: RunResult | None = field(repr=False)


@dataclass(frozen=True)
class StudyRow:
    """A study in numbers.

    Args:
        name: of the study.
        experiment_id: its experiment.
        runs: how many there are.
        finished: how many of them came to their end.
        updated: when a run last began or ended, UTC; None without runs.
    """

    name: str
    experiment_id: str
    runs: int
    finished: int
    updated: datetime | None
