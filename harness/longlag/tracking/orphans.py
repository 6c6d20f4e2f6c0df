"""Runs that a dead process left RUNNING."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from longlag import processes
from longlag.tracking import describe

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def among(running: Sequence[Run], trials: Mapping[str, set[int]], local: bool) -> list[Run]:
    """Those of the runs that are RUNNING whose process is dead.

    A run of this machine is dead when its process is gone; one whose process cannot be seen from here when its trial
    is over.

    Args:
        running: the runs.
        trials: the numbers of the trials that are running, by study.
        local: all of them were made on this machine.
    """

    def gone(tags: Mapping[str, str]) -> bool:
        return processes.is_gone(tags) or (local and processes.is_of_earlier_boot(tags))

    def over(tags: Mapping[str, str]) -> bool:
        study, number = tags.get(describe.STUDY, ""), tags.get(describe.TRIAL, "")
        return study in trials and number.isdigit() and int(number) not in trials[study]

    return [run for run in running if gone(run.data.tags) or over(run.data.tags)]


def mark_killed(client: MlflowClient, run: Run) -> None:
    """End a run, with why."""
    who = f"process {run.data.tags.get('pid')} of {run.data.tags.get('host')}"
    client.set_tag(run.info.run_id, "outcome", "killed")
    client.set_tag(run.info.run_id, "reason", f"{who} is gone")
    client.set_terminated(run.info.run_id, "KILLED")
