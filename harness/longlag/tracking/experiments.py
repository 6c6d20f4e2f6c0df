"""The experiment of a study in MLflow: found or made, and what stands above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longlag.tracking.describe import LAYOUT as TAG
from longlag.tracking.describe import NOTE
from longlag.tracking.home import LAYOUT

if TYPE_CHECKING:
    from mlflow import MlflowClient


def begin(client: MlflowClient, name: str, place: str | None) -> str:
    """Find or make the experiment of this name; one that was deleted comes back. Returns its id.

    Args:
        client: of the store.
        name: of the experiment.
        place: address of its files; None for where the server keeps them.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # by a request whose reply was lost, or somebody else
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def describe(client: MlflowClient, identifier: str, note: str) -> None:
    """Mark an experiment as longlag's, with a note of Markdown above it."""
    have = client.get_experiment(identifier).tags
    for key, value in {TAG: str(LAYOUT), **({NOTE: note} if note else {})}.items():
        if have.get(key) != value:
            client.set_experiment_tag(identifier, key, value)
