"""Pending uploads: what a tracking server missed while it was away, kept in the home and delivered when it answers."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from longlag import files
from longlag.credentials import bare
from longlag.errors import UserError
from longlag.log import log
from longlag.tracking import artifacts, connection

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BATCH, PARAMETERS = 1000, 100  # as many as MLflow takes at once
UPLOAD = "upload.json"
ATTEMPTS = 3
"""Deliveries of one upload that may fail before it is set aside."""


class Logged(NamedTuple):
    """A point on its way to the store: what MLflow's `Metric` is made of, at a tenth of its price.

    Args:
        key: the series.
        value: the number.
        timestamp: when it was measured, in ms since 1970.
        step: the update, the step t or the lag.
    """

    key: str
    value: float
    timestamp: int
    step: int


def metrics(points: Iterable[Logged]) -> list[Metric]:
    """As MLflow takes them."""
    from mlflow.entities import Metric

    return [Metric(*point) for point in points]


@dataclass
class PendingUpload:
    """A run, or the rest of one, that is still to be told to a store.

    Args:
        uri: the store, without user and password.
        experiment_id: where the run belongs.
        run_id: of the run that was begun there; None where even that is still to be done.
        name: of the run.
        started: when it began, in ms since 1970.
        tags: of a run that is still to be made.
        params: of such a run.
        inputs: of such a run: the fields of MLflow's datasets, and which split each is.
        described: whether parameters and inputs are there.
        metrics: points, in MLflow's order.
        status: MLflow's, at its end.
        ended: when, in ms.
        last_tags: outcome and reason.
        attempts: deliveries that have failed.
    """

    uri: str
    experiment_id: str
    run_id: str | None
    name: str | None
    started: int
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    inputs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    described: bool = False
    metrics: list[Logged] = field(default_factory=list)
    status: str = ""
    ended: int = 0
    last_tags: dict[str, str] = field(default_factory=dict)
    attempts: int = 0

    def begin(self, client: MlflowClient) -> str:
        """Make the run, and say what it is, if that is not done yet; returns its id."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        if self.run_id is None:
            made = client.create_run(self.experiment_id, start_time=self.started, tags=self.tags, run_name=self.name)
            self.run_id = str(made.info.run_id)
        if not self.described:
            params = [Param(key, value) for key, value in self.params.items()]
            for start in range(0, len(params), PARAMETERS):
                client.log_batch(self.run_id, params=params[start : start + PARAMETERS])
            inputs = [
                DatasetInput(dataset=Dataset(**fields), tags=[InputTag("mlflow.data.context", split)])
                for split, fields in self.inputs
            ]
            client.log_inputs(self.run_id, inputs)
            self.described = True
        return self.run_id


def missing(client: MlflowClient, run_id: str, points: list[Logged]) -> list[Logged]:
    """Those points that the run does not have yet: one that is logged again would stand there twice."""
    there = {(m.key, m.step) for key in {p.key for p in points} for m in client.get_metric_history(run_id, key)}
    return [point for point in points if (point.key, point.step) not in there]


class Spool:
    """Pending uploads in a folder, each with the files of its run.

    An upload that fails while the server answers does not hold up those after it. After `ATTEMPTS` failures it is set
    aside, with a warning, in the folder ``set-aside``; `retry` makes it pending again.

    Args:
        folder: of the home.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside = folder / "set-aside"

    def keep(self, upload: PendingUpload, made: Path) -> None:
        """Write an upload, whole or not at all."""
        self.folder.mkdir(exist_ok=True)
        draft = self.folder / f".{uuid.uuid4().hex}"
        shutil.copytree(made, draft / "files")
        _write(draft, upload)
        files.flush(draft)
        draft.rename(self.folder / f"{upload.started}-{draft.name[1:9]}")

    def pending_uploads(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def set_aside(self) -> list[Path]:
        """The uploads that are not tried any more."""
        return sorted(path for path in self._aside.glob("[0-9]*") if path.is_dir())

    def damaged(self) -> dict[Path, str]:
        """The uploads, set aside or not, that cannot be read, and why."""
        found = {}
        for path in (*self.pending_uploads(), *self.set_aside()):
            try:
                _read(path)
            except (OSError, ValueError, TypeError) as error:
                if path.exists():  # else it was delivered meanwhile
                    found[path] = str(error)
        return found

    def retry(self) -> int:
        """Make the uploads that were set aside pending again; returns how many those are."""
        damaged = self.damaged()
        paths = [path for path in self.set_aside() if path not in damaged]
        for path in paths:
            path.rename(self.folder / path.name)
        return len(paths)

    def deliver(self, client: MlflowClient, address: str) -> int:
        """Tell a store what is kept for it; returns how many runs that were. A store that fails gets it later."""
        delivered, uri = 0, bare(address)
        for path in self.pending_uploads():
            try:
                upload = _read(path)
            except (OSError, ValueError, TypeError) as error:
                self._put_aside(path, error)
                continue
            if upload.uri != uri:
                continue
            try:
                _upload(client, path, upload)
            except Exception as error:  # a client raises nearly anything, of its own and of what it calls
                log.info("pending upload %s is not delivered: %s", path.name, error, exc_info=True)
                if not _answers(address):
                    return delivered
                upload.attempts += 1
                last = upload.attempts >= ATTEMPTS
                upload.attempts %= ATTEMPTS  # one that is pending again has as many
                _write(path, upload)
                if last:
                    self._put_aside(path, error)
                continue
            gone = path.with_name(f".{path.name}")
            try:
                path.rename(gone)
            except OSError as error:
                log.warning("pending upload %s is delivered, and cannot be removed: %s", path, error, exc_info=True)
            shutil.rmtree(gone, ignore_errors=True)
            delivered += 1
        return delivered

    def _put_aside(self, path: Path, error: Exception) -> None:
        self._aside.mkdir(exist_ok=True)
        target = self._aside / path.name
        path.rename(target)
        log.warning(
            "pending upload %s cannot be delivered and is set aside: %s: %s (`longlag doctor --repair` tries it again)",
            target, type(error).__name__, error, exc_info=True,
        )  # fmt: skip


def _upload(client: MlflowClient, path: Path, upload: PendingUpload) -> None:
    from mlflow.entities import RunTag

    run_id = upload.begin(client)
    _write(path, upload)  # should delivery stop halfway, it continues with this run
    points = missing(client, run_id, upload.metrics)
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=metrics(points[start : start + BATCH]))
    artifacts.log(client, run_id, path / "files")
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in upload.last_tags.items()])
    client.set_terminated(run_id, upload.status, upload.ended)


def _answers(uri: str) -> bool:
    """Whether a server is there. A database has no such question: it is taken to be there."""
    if not uri.startswith(connection.SERVERS):
        return True
    try:
        connection.check_health(uri)
    except UserError:
        return False
    return True


def _read(path: Path) -> PendingUpload:
    fields, _ = files.unsealed((path / UPLOAD).read_bytes())
    upload = PendingUpload(**fields)
    upload.metrics = [Logged(*values) for values in upload.metrics]
    return upload


def _write(path: Path, upload: PendingUpload) -> None:
    files.write(path / UPLOAD, json.dumps(files.sealed(asdict(upload))).encode())
