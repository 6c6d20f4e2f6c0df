"""What a tracking server that went away was not told: kept in the home, delivered when it answers again."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BATCH, PARAMETERS = 1000, 100  # as many as MLflow takes at once


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
        uri: the store.
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
    """Parcels in a folder, each with the files of its run.

    Args:
        folder: of the home.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, upload: PendingUpload, files: Path) -> None:
        """Put a upload by, whole or not at all."""
        self.folder.mkdir(exist_ok=True)
        draft = self.folder / f".{uuid.uuid4().hex}"
        shutil.copytree(files, draft / "files")
        with (draft / "upload.json").open("w", encoding="utf-8") as file:
            json.dump(asdict(upload), file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self.folder / f"{upload.started}-{draft.name[1:9]}")

    def pending_uploads(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if path.is_dir())

    def deliver(self, client: MlflowClient, uri: str) -> int:
        """Tell a store what is kept for it; returns how many runs that were. A store that fails gets it later."""
        from mlflow.entities import RunTag

        delivered = 0
        for path in self.pending_uploads():
            upload = _read(path)
            if upload.uri != uri:
                continue
            try:
                run_id = upload.begin(client)
                _write(path, upload)  # should delivery stop halfway, it goes on with this run
                points = missing(client, run_id, upload.metrics)
                for start in range(0, len(points), BATCH):
                    client.log_batch(run_id, metrics=metrics(points[start : start + BATCH]))
                client.log_artifacts(run_id, str(path / "files"))
                client.log_batch(run_id, tags=[RunTag(key, value) for key, value in upload.last_tags.items()])
                client.set_terminated(run_id, upload.status, upload.ended)
            except Exception:  # whatever a store that comes and goes may raise
                return delivered
            gone = path.with_name(f".{path.name}")
            with suppress(OSError):
                path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
            delivered += 1
        return delivered


def _read(path: Path) -> PendingUpload:
    upload = PendingUpload(**json.loads((path / "upload.json").read_text(encoding="utf-8")))
    upload.metrics = [Logged(*values) for values in upload.metrics]
    return upload


def _write(path: Path, upload: PendingUpload) -> None:
    draft = path / ".upload.json"
    draft.write_text(json.dumps(asdict(upload)), encoding="utf-8")
    draft.replace(path / "upload.json")
