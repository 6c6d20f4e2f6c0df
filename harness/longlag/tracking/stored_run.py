"""What the store says of runs and studies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from longlag import files
from longlag.errors import UserError
from longlag.log import log
from longlag.spec import STORED
from longlag.tracking.reading import RunRow
from longlag.training import RunResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

RESULT = "result.json"
UNUSABLE = (ValueError, KeyError, TypeError, UserError)
"""What reading a result raises that is damaged, or was written by another version."""
Opened = Callable[[str], AbstractContextManager[Path]]
Series = Callable[[str], Sequence[tuple[int, float]]]


@dataclass(frozen=True)
class StoredRun:
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


def result_file(result: RunResult) -> bytes:
    """The content of ``result.json``."""
    return json.dumps(files.sealed(json.loads(result.model_dump_json())), indent=1).encode()


def read_result(run: RunRow, opened: Opened, series: Series) -> RunResult:
    """The result of a run from its ``result.json``. A file of an older longlag has no checksum.

    Args:
        run: as the store holds it.
        opened: one of its files.
        series: step and value of what it logged under a name.

    Raises:
        OSError: when it has none.
        ValueError, KeyError, TypeError, UserError: when it is damaged, of another run, or of an unknown form.
    """
    with opened(RESULT) as path:
        fields, _ = files.unsealed(path.read_bytes())
    if "validation_score" not in fields:  # a result of before it was written down: it was logged as well
        score = [value for _, value in series("validation/score")]
        diverged = fields["outcome"] == "diverged" or not score
        fields["validation_score"] = math.inf if diverged else score[-1]
    result = RunResult.model_validate(fields, context=STORED)
    if result.run_key != run.tags["run_key"]:
        raise files.Damaged("it is the result of another run")
    return result


def read_run(run: RunRow, opened: Opened, series: Series) -> StoredRun:
    """A run with its result, where it has one that can be read; see `read_result`."""
    result = None
    if run.status != "RUNNING":
        try:
            result = read_result(run, opened, series)
        except OSError:
            pass  # the run failed before its end
        except UNUSABLE as error:
            log.warning("run %s is left out, its result cannot be read: %s", run.run_id, error, exc_info=True)
    return StoredRun(run.run_id, run.experiment_id, run.status, run.tags, result)


class Examined(NamedTuple):
    """A file that a run's numbers are read from.

    Args:
        run_id: whose.
        path: of it.
        wrong: why it cannot be used; None where it can.
        verified: whether it has a checksum: those of an older longlag have none.
    """

    run_id: str
    path: Path
    wrong: str | None
    verified: bool


def examine(run: RunRow, place: Path, series: Series) -> Iterator[Examined]:
    """Read the files of a finished run that are in a folder."""
    for path in sorted({place / RESULT, *place.rglob("*.safetensors")}):
        wrong, verified = None, False
        try:
            if path.name == RESULT:
                read_result(run, lambda name: nullcontext(place / name), series)
                verified = files.unsealed(path.read_bytes())[1]
            else:
                verified = files.CHECKSUM in files.metadata(path.read_bytes())
        except FileNotFoundError:
            wrong = "it is missing"
        except (OSError, *UNUSABLE) as error:
            wrong = str(error)
        yield Examined(run.run_id, path, wrong, verified)


def discard(client: MlflowClient, found: Examined) -> None:
    """Leave out a damaged file: a run whose result it is has failed, and any other file is removed."""
    if found.path.name == RESULT:
        client.set_tag(found.run_id, "outcome", "damaged")
        client.set_tag(found.run_id, "reason", f"{RESULT}: {found.wrong}")
        client.set_terminated(found.run_id, "FAILED", client.get_run(found.run_id).info.end_time)
    else:
        found.path.unlink(missing_ok=True)
