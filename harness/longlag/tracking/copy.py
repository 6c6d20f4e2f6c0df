"""A run copied into another experiment, as if it had been trained there."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from longlag import escape
from longlag.tracking import artifacts, describe
from longlag.tracking.store import Store
from longlag.tracking.stored_run import StoredRun
from longlag.tracking.upload import BATCH, PARAMETERS, TOKEN, delete_doubles, log_inputs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def adopt(
    store: Store,
    finished: StoredRun,
    experiment_id: str,
    parent: str | None,
    tags: Mapping[str, str],
    name: str | None = None,
) -> str:
    """Make a run that finished elsewhere visible in an experiment; returns the id of the copy.

    Parameters, tags, datasets, metric histories, artifacts, start and end are those of the original, named by the tag
    ``longlag.adopted_from``. A run that stands at this place already is not copied.
    """
    place = (experiment_id, parent)
    if (finished.experiment_id, finished.tags.get(describe.PARENT)) == place:
        return finished.run_id
    query = f"tags.run_key = '{finished.tags['run_key']}' and attributes.status = 'FINISHED'"
    for run in store.runs([experiment_id], query):
        if run.data.tags.get(describe.PARENT) == parent:
            return str(run.info.run_id)
    source = store.client.get_run(finished.run_id)
    with store.files(finished.run_id) as files:
        return copy(store.client, source, files, experiment_id, parent, tags, name)


def copy(
    client: MlflowClient,
    source: Run,
    files: Path,
    experiment_id: str,
    parent: str | None,
    tags: Mapping[str, str],
    name: str | None,
) -> str:
    """Copy parameters, tags, datasets, metric histories, artifacts, start and end; returns the new run's id.

    Until all is there the copy is RUNNING, and tags name this process: should it die, the copy is marked as killed.

    Args:
        client: of the store that holds both.
        source: the run.
        files: folder with its artifacts.
        experiment_id: where the copy goes.
        parent: run that it belongs to.
        tags: in place of those that say which study and trial the original belonged to.
        name: of the copy; the original's when not given.
    """
    from mlflow.entities import DatasetInput, Param

    of_its_study = (describe.PARENT, "mlflow.runName", "study")
    original = {k: v for k, v in source.data.tags.items() if not k.startswith("longlag.") and k not in of_its_study}
    own = {describe.ADOPTED: source.data.tags.get(describe.ADOPTED, source.info.run_id), **describe.process()}
    if parent is not None:
        own[describe.PARENT] = parent
    if describe.STUDY in tags:
        own["study"] = tags[describe.STUDY]
    own[TOKEN] = uuid.uuid4().hex
    own |= {key: escape.mlflow(value, describe.TAG_LIMIT) for key, value in tags.items()}
    made = client.create_run(
        experiment_id,
        start_time=source.info.start_time,
        tags={**original, **own},
        run_name=escape.mlflow(name or source.info.run_name, describe.NAME_LIMIT),
    )
    run_id = str(made.info.run_id)
    params = [Param(key, value) for key, value in source.data.params.items()]
    for start in range(0, len(params), PARAMETERS):
        client.log_batch(run_id, params=params[start : start + PARAMETERS])
    inputs = source.inputs.dataset_inputs if source.inputs else []
    log_inputs(client, run_id, [DatasetInput(dataset=item.dataset, tags=item.tags) for item in inputs])
    metrics = [metric for key in source.data.metrics for metric in client.get_metric_history(source.info.run_id, key)]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
    artifacts.log(client, run_id, files)
    client.set_terminated(run_id, source.info.status, source.info.end_time)
    delete_doubles(client, experiment_id, TOKEN, own[TOKEN], run_id)
    return run_id
