"""What the store says of runs and studies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from longlag.errors import UserError
from longlag.log import log
from longlag.spec import RECORDED
from longlag.tracking.reading import RunRow
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


def read_run(
    run: RunRow,
    opened: Callable[[str], AbstractContextManager[Path]],
    series: Callable[[str], Sequence[tuple[int, float]]],
) -> Recorded:
    """A run with its result, where it has one that can be read.

    Args:
        run: as the store holds it.
        opened: one of its files.
        series: step and value of what it logged under a name.
    """
    result = None
    if run.status != "RUNNING":
        try:
            with opened("result.json") as path:
                fields = json.loads(path.read_bytes())
            if "validation_score" not in fields:  # a result of before it was written down: it was logged as well
                score = [value for _, value in series("validation/score")]
                diverged = fields["outcome"] == "diverged" or not score
                fields["validation_score"] = math.inf if diverged else score[-1]
            result = RunResult.model_validate(fields, context=RECORDED)
        except OSError:
            pass  # the run failed before its end
        except (ValueError, KeyError, TypeError, UserError) as error:  # written by another version
            log.warning("run %s is left out, its result cannot be read: %s", run.run_id, error, exc_info=True)
    return Recorded(run.run_id, run.experiment_id, run.status, run.tags, result)
