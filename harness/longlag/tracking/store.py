"""The store of all runs: MLflow behind the few questions that the harness asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag import files
from longlag.credentials import masked
from longlag.errors import UserError, quoted, suggestion
from longlag.log import log
from longlag.spec import RunSpec, load_run
from longlag.tracking import connection, describe, experiments, orphans
from longlag.tracking.artifacts import artifact, folder
from longlag.tracking.callback import MlflowCallback
from longlag.tracking.home import LAYOUT, Home
from longlag.tracking.reading import PAGE, Reader, RunRow, pages, search
from longlag.tracking.spool import Spool
from longlag.tracking.stored_run import (
    RESULT,
    Examined,
    Opened,
    Series,
    StoredRun,
    StudyRow,
    examine,
    read_result,
    read_run,
)
from longlag.training.weights import WEIGHTS, unpacked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from torch import Tensor

AGAIN = "`longlag run … --force` trains it again"
Trials = Callable[[], Mapping[str, set[int]]]
FIND_SECONDS = 60.0
"""How long a server may take to say whether it has a run."""
DELIVER_SECONDS = 60.0
"""How long a store that is opened is waited for, when it takes runs that it has missed."""


class Store:
    """Runs of every study, in one MLflow store. `open` is the way in.

    Args:
        home: the home that the store belongs to, or, for a server, whose lock and caches are used.
        address: where the store is, with the user and password that it is opened with.

    Attributes:
        uri: the address without its password.
    """

    def __init__(self, home: Home, address: str) -> None:
        self.home, self.address, self.uri = home, address, masked(address)
        self._files: dict[str, str] = {}
        """Run -> address of its files, which never changes."""

    @classmethod
    def open(cls, home: Home, uri: str | None = None) -> Store:
        """The home's own store, made when there is none, or the one at `uri`.

        Raises:
            UserError: when a server does not answer, or a database is none of MLflow's.
        """
        connection.prepare(home, uri)
        store = cls(home, connection.location(home, uri))
        try:
            connection.within(DELIVER_SECONDS, store.deliver)
        except TimeoutError:
            log.warning("%s is slow: runs in %s are delivered to it meanwhile", store.uri, home.spool)
        return store

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's, which writes. It is made when it is first needed: importing MLflow takes seconds."""
        return connection.client(self.address)

    @cached_property
    def reader(self) -> Reader:
        """What reads runs, series and files."""
        return connection.reader(self.address, lambda: self.client)

    def deliver(self, wait: bool = False) -> int:
        """Tell the store what it has not taken yet, and with `wait` what it is told just now; returns how many runs."""
        spool = Spool(self.home.spool)
        return spool.deliver(self.client, self.address, wait) if spool.pending_uploads() else 0

    @property
    def local(self) -> bool:
        """Whether artifacts lie in the home, and not with a server."""
        return not self.uri.startswith(connection.SERVERS)

    @property
    def remote(self) -> bool:
        """Whether it is a server or a database, which may be slow or away, and no file."""
        return not self.uri.startswith(connection.SQLITE)

    @property
    def own(self) -> bool:
        """Whether it is the home's own."""
        return self.address == self.home.tracking_uri

    # -- experiments ------------------------------------------------------------------------------------------------

    def experiment(self, name: str, note: str = "") -> str:
        """Find or make the experiment of a study; returns its id.

        Runs in it whose process died on this machine are marked as killed: nothing is RUNNING for ever.
        """
        with connection.quiet(), self.home.lock():
            place = self.home.artifacts.as_uri() if self.local else None
            identifier = experiments.begin(self.client, name, place)
            experiments.describe(self.client, identifier, note)
            self.mark_killed(identifier)
        return identifier

    def experiment_id(self, name: str) -> str:
        """The id of a study's experiment.

        Raises:
            UserError: when there is none, naming the nearest.
        """
        names = self.reader.experiments(describe.LAYOUT, str(LAYOUT))
        if name not in names:
            raise UserError(f"there is no study named {quoted(name)} in {self.uri}{suggestion(name, list(names))}")
        return names[name]

    def studies(self) -> list[StudyRow]:
        """Everything longlag recorded here, by name."""
        rows = []
        for experiment in self._experiments():
            runs = [run for run in self.runs([experiment.experiment_id]) if _is_training(run)]
            times = [run.info.end_time or run.info.start_time for run in runs]
            latest = datetime.fromtimestamp(max(times) / 1000, UTC) if times else None
            ended = sum(run.info.status == "FINISHED" for run in runs)
            rows.append(StudyRow(experiment.name, str(experiment.experiment_id), len(runs), ended, latest))
        return sorted(rows, key=lambda row: row.name)

    # -- runs -------------------------------------------------------------------------------------------------------

    def callback(
        self,
        experiment_id: str,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> MlflowCallback:
        """What records one run; see `MlflowCallback`."""
        spool = Spool(self.home.spool) if self.remote else None
        return MlflowCallback(self.client, experiment_id, parent, tags, name, spool)

    def find(self, run_key: str) -> StoredRun | None:
        """A run of this identity that finished, in whatever study; the newest whose result can be read.

        If a server does not answer, the run is trained and uploaded later.
        """
        if not self.remote:
            return self._find(run_key)
        try:
            return connection.within(FIND_SECONDS, lambda: self._find(run_key))
        except Exception as error:  # a client raises nearly anything, of its own and of what it calls
            log.warning("%s cannot be asked for the run, which is trained: %s", self.uri, error, exc_info=True)
            return None

    def _find(self, run_key: str) -> StoredRun | None:
        ids = [str(experiment.experiment_id) for experiment in self._experiments()]
        query = f"tags.run_key = '{run_key}' and attributes.status = 'FINISHED'"
        for run in self.runs(ids, query) if ids else ():
            stored = self._read(RunRow.of(run))
            if stored.result is not None:
                return stored
        return None

    def stored_runs(self, experiment_id: str) -> list[StoredRun]:
        """All runs of an experiment, the oldest first, failed ones too; not the study's own."""
        rows = [row for row in self.reader.runs(experiment_id) if "run_key" in row.tags]
        self._files |= {row.run_id: row.artifact_uri for row in rows}
        return [self._read(row) for row in rows]

    def examine(self) -> Iterator[Examined]:
        """The files that the numbers of all finished runs are read from, as far as they are in a home."""
        for identifier in self.reader.experiments(describe.LAYOUT, str(LAYOUT)).values():
            for run in self.reader.runs(identifier):
                place = folder(run.artifact_uri)
                if "run_key" in run.tags and run.status == "FINISHED" and place is not None:
                    yield from examine(run, place, partial(self.series, run.run_id))

    def series_names(self, run_id: str) -> list[str]:
        """The names of everything that a run logged over updates, steps or lags."""
        return sorted(self.client.get_run(run_id).data.metrics)

    def series(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Step and value of everything that a run logged under a name; empty where there is nothing."""
        return self.reader.series(run_id, name)

    def get(self, run_id: str) -> StoredRun:
        """The run of this id.

        Raises:
            UserError: when there is none.
        """
        return self._read(self._run(run_id))

    def keyed(self, beginning: str) -> list[StoredRun]:
        """Runs that finished and whose run_key begins so, the oldest first."""
        ids = [str(experiment.experiment_id) for experiment in self._experiments()]
        query = f"tags.run_key LIKE '{beginning}%' and attributes.status = 'FINISHED'"
        found = self.runs(ids, query, newest_first=False) if ids else iter(())
        return [self._read(RunRow.of(run)) for run in found]

    def _run(self, run_id: str) -> RunRow:
        row = self.reader.run(run_id)
        if row is None:
            raise UserError(f"there is no run {quoted(run_id)} in {self.uri}; the UI shows a run's id (longlag ui)")
        if "run_key" not in row.tags:
            raise UserError(f"run {run_id} is a study's own: name one of the trainings in it")
        return row

    def trained(self, run_id: str) -> tuple[RunSpec, dict[str, Tensor]]:
        """What a run was and the weights it ended with.

        Raises:
            UserError: when there is no such run, or it keeps no weights, or a file of it is damaged.
        """
        run = self._run(run_id)
        name = RESULT
        try:
            stored = read_result(run, *self._of(run)).spec
            spec = load_run(stored.model_dump(mode="json"), f"the spec of run {run_id}")
            name = WEIGHTS
            with self._artifact(run.run_id, run.artifact_uri, name) as path:
                return spec, unpacked(spec, path.read_bytes())
        except files.Damaged as error:
            raise UserError(f"{name} of run {run_id} cannot be used: {error}; {AGAIN}") from error
        except OSError as error:
            raise UserError(
                f"run {run_id} keeps no {Path(error.filename or WEIGHTS).name}: a run that was cut short, diverged or "
                f"was recorded by an older version keeps none; {AGAIN}"
            ) from error

    def file(self, run_id: str, name: str) -> bytes | None:
        """One of the files of a run; None where it has none of this name."""
        try:
            if run_id not in self._files:
                self._files[run_id] = self._run(run_id).artifact_uri
            with self._artifact(run_id, self._files[run_id], name) as path:
                return path.read_bytes()
        except OSError:
            return None

    # -- inside -----------------------------------------------------------------------------------------------------

    def files(self, run_id: str) -> AbstractContextManager[Path]:
        """The folder of a run's files, to read from."""
        return self._artifact(run_id, self._run(run_id).artifact_uri, "")

    def _artifact(self, run_id: str, address: str, name: str) -> AbstractContextManager[Path]:
        return artifact(lambda: self.client, run_id, address, name)

    def _read(self, run: RunRow) -> StoredRun:
        return read_run(run, *self._of(run))

    def _of(self, run: RunRow) -> tuple[Opened, Series]:
        """What opens a run's files, and what reads its series."""
        return partial(self._artifact, run.run_id, run.artifact_uri), partial(self.series, run.run_id)

    def _experiments(self) -> Iterator[Any]:
        query = f"tags.`{describe.LAYOUT}` = '{LAYOUT}'"
        search = self.client.search_experiments
        return pages(lambda token: search(filter_string=query, max_results=PAGE, page_token=token))

    def runs(self, experiment_ids: Sequence[str], query: str = "", newest_first: bool = True) -> Iterator[Run]:
        """MLflow's runs of these experiments that a query finds."""
        return search(self.client, list(experiment_ids), query, newest_first)

    def dead(self, experiment_id: str | None = None, trials: Trials = dict) -> list[Run]:
        """Runs, of one study or of all, that a dead process left RUNNING.

        Args:
            experiment_id: of the study.
            trials: asked for the numbers of the trials that are running, by study.
        """
        ids = [experiment_id] if experiment_id else [str(each.experiment_id) for each in self._experiments()]
        running = list(self.runs(ids, "attributes.status = 'RUNNING'")) if ids else []
        lost = orphans.among(running, trials() if running else {}, self.local)
        # a run that ended between the two questions is none of them
        return [run for run in lost if self.client.get_run(run.info.run_id).info.status == "RUNNING"]

    def mark_killed(self, experiment_id: str, trials: Trials = dict) -> None:
        """Mark runs as killed whose process is gone: killed by a signal that cannot be caught, or by a power cut."""
        for run in self.dead(experiment_id, trials):
            orphans.mark_killed(self.client, run)


def _is_training(run: Run) -> bool:
    return "run_key" in run.data.tags
