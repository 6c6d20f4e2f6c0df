"""Reading a store: by MLflow's client, or from the tables of a SQLite database.

Importing MLflow takes two seconds, and its client makes an object of every parameter, tag and metric of a run, some
300 a run. A home's own store is read without either, as long as it has the tables that `mlflow_private` knows.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag.tracking import mlflow_private

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 500


@dataclass(frozen=True)
class RunRow:
    """A run as the store holds it.

    Args:
        run_id: MLflow's.
        experiment_id: where it is.
        status: MLflow's: ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED``.
        artifact_uri: address of its files.
        tags: all of them.
    """

    run_id: str
    experiment_id: str
    status: str
    artifact_uri: str
    tags: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, run: Run) -> RunRow:
        info = run.info
        tags = dict(run.data.tags)
        return cls(str(info.run_id), str(info.experiment_id), str(info.status), str(info.artifact_uri), tags)


class Reader(ABC):
    """What can be asked of a store."""

    @abstractmethod
    def experiments(self, tag: str, value: str) -> dict[str, str]:
        """Name -> id of the experiments with a tag of that value."""

    @abstractmethod
    def runs(self, experiment_id: str) -> Iterator[RunRow]:
        """Every run of an experiment, the oldest first."""

    @abstractmethod
    def run(self, run_id: str) -> RunRow | None:
        """The run of this id, if there is one."""

    @abstractmethod
    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Step and value of everything that a run logged under a name, by step."""


class ClientReader(Reader):
    """By MLflow's client.

    Args:
        client: makes it, when it is first needed.
    """

    def __init__(self, client: Callable[[], MlflowClient]) -> None:
        self._client = client

    def experiments(self, tag: str, value: str) -> dict[str, str]:
        query, ask = f"tags.`{tag}` = '{value}'", self._client().search_experiments
        found = pages(lambda token: ask(filter_string=query, max_results=PAGE, page_token=token))
        return {each.name: str(each.experiment_id) for each in found}

    def runs(self, experiment_id: str) -> Iterator[RunRow]:
        return map(RunRow.of, search(self._client(), [experiment_id], newest_first=False))

    def run(self, run_id: str) -> RunRow | None:
        from mlflow.exceptions import MlflowException

        try:
            return RunRow.of(self._client().get_run(run_id))
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            return None

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return sorted((int(m.step), float(m.value)) for m in self._client().get_metric_history(run_id, metric))


class SqliteReader(Reader):
    """From the tables of a SQLite database.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def experiments(self, tag: str, value: str) -> dict[str, str]:
        with closing(self._open()) as database:
            return mlflow_private.experiments(database, tag, value)

    def runs(self, experiment_id: str) -> Iterator[RunRow]:
        return self._rows("experiment_id = ? AND lifecycle_stage = 'active'", experiment_id)

    def run(self, run_id: str) -> RunRow | None:
        return next(self._rows("run_uuid = ?", run_id), None)

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        with closing(self._open()) as database:
            return mlflow_private.series(database, run_id, metric)

    def _rows(self, which: str, value: str) -> Iterator[RunRow]:
        with closing(self._open()) as database:
            for columns, tags in mlflow_private.runs(database, which, value):
                run_id, experiment, status, artifacts = map(str, columns.values())
                yield RunRow(run_id, experiment, status, artifacts, tags)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=20)


def search(
    client: MlflowClient, experiment_ids: list[str], query: str = "", newest_first: bool = True
) -> Iterator[Run]:
    """The runs that a query finds."""
    order = [f"attributes.start_time {'DESC' if newest_first else 'ASC'}"]
    ask = client.search_runs
    return pages(lambda token: ask(experiment_ids, query, max_results=PAGE, order_by=order, page_token=token))


def pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """What is found, page by page; `ask` takes the token of a page."""
    page = ask(None)
    yield from page
    while page.token:
        page = ask(page.token)
        yield from page
