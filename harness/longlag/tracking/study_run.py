"""The study's own run, which its trainings are under: what it varies, its numbers, pictures and report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from longlag import escape
from longlag.parts import Parts
from longlag.tracking import describe, views
from longlag.tracking.store import Store
from longlag.tracking.upload import BATCH, PARAMETERS, delete_doubles


def begin(store: Store, experiment_id: str, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """Find the run by its tag ``longlag.study_identity``, or make it; it is RUNNING again. Returns its id."""
    from mlflow.entities import Param, RunTag

    client = store.client
    own = {**tags, **describe.process(), "mlflow.source.name": "longlag", "mlflow.source.type": "LOCAL"}
    with store.home.lock():
        run = next(_named(store, experiment_id, tags[describe.IDENTITY]), None)
        if run is None:
            run = client.create_run(experiment_id, tags=own, run_name=name)
            delete_doubles(client, experiment_id, describe.IDENTITY, tags[describe.IDENTITY], run.info.run_id)
        else:
            client.update_run(run.info.run_id, status="RUNNING")
            client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in own.items()])
        identifier = str(run.info.run_id)
        before = run.data.params
        values = {key: escape.mlflow(value, describe.PARAMETER_LIMIT) for key, value in parameters.items()}
        new = [Param(key, value) for key, value in values.items() if key not in before]
        for start in range(0, len(new), PARAMETERS):
            client.log_batch(identifier, params=new[start : start + PARAMETERS])
        for key, value in values.items():  # a parameter cannot be changed, such as the sampler of a continued study
            if before.get(key, value) != value:
                client.set_tag(identifier, f"now.{key}", value)
    return identifier


def write(store: Store, run_id: str, name: str, text: str) -> None:
    """Keep a text with the run, as a file."""
    store.client.log_text(run_id, text, name)


def end(
    store: Store,
    run_id: str,
    status: Literal["FINISHED", "FAILED", "KILLED"],
    metrics: Mapping[str, float],
) -> None:
    """Set the run to its end, with its numbers, and bring the study's page up to date.

    A number that the run has already is not logged again: a study that is repeated changes none.
    """
    from mlflow.entities import Metric

    client = store.client
    run, now = client.get_run(run_id), int(time.time() * 1000)
    numbers = {describe.metric_name(name): float(value) for name, value in metrics.items()}
    new = [Metric(key, value, now, 0) for key, value in numbers.items() if run.data.metrics.get(key) != value]
    for start in range(0, len(new), BATCH):
        client.log_batch(run_id, metrics=new[start : start + BATCH])
    client.set_terminated(run_id, status)
    Parts().make("the charts of the study in MLflow", lambda: views.save(client, run.info.experiment_id))


def add_files(store: Store, run_id: str, files: Sequence[Path]) -> None:
    """Keep copies of files with the run."""
    for path in files:
        store.client.log_artifact(run_id, str(path))


def attach(store: Store, experiment_id: str, identity: str, folder: Path, tags: Mapping[str, str]) -> None:
    """Keep the files of a folder with the run, as ``report``, and tags beside them."""
    for run in _named(store, experiment_id, identity):
        store.client.log_artifacts(run.info.run_id, str(folder), "report")
        for key, value in tags.items():
            key = describe.metric_name(key)
            store.client.set_tag(run.info.run_id, key, escape.mlflow(value, describe.TAG_LIMIT))
        return


def _named(store: Store, experiment_id: str, identity: str) -> Any:
    return store.runs([experiment_id], f"tags.`{describe.IDENTITY}` = '{identity}'")
