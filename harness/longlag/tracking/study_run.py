"""The study's own run, which its trainings are under: what it varies, its numbers, pictures and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from longlag import escape
from longlag.parts import Parts
from longlag.tracking import describe, views
from longlag.tracking.spool import PARAMETERS
from longlag.tracking.store import Store


def begin(store: Store, experiment_id: str, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any]) -> str:
    """Find the run by its tag ``longlag.study_identity``, or make it; it is RUNNING again. Returns its id."""
    from mlflow.entities import Param

    client = store.client
    own = {**tags, **describe.process(), "mlflow.source.name": "longlag", "mlflow.source.type": "LOCAL"}
    with store.home.lock():
        run = next(_named(store, experiment_id, tags[describe.IDENTITY]), None)
        if run is None:
            run = client.create_run(experiment_id, tags=own, run_name=name)
        else:
            client.update_run(run.info.run_id, status="RUNNING")
            for key, value in own.items():
                client.set_tag(run.info.run_id, key, value)
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
    """Set the run to its end, with its numbers, and bring the study's page up to date."""
    for name, value in metrics.items():
        store.client.log_metric(run_id, describe.metric_name(name), value)
    store.client.set_terminated(run_id, status)
    experiment = store.client.get_run(run_id).info.experiment_id
    Parts().make("the charts of the study in MLflow", lambda: views.save(store.client, experiment))


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
