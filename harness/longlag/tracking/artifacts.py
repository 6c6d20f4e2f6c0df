"""The files of a run, wherever they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from longlag import files

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log(client: MlflowClient, run_id: str, made: Path) -> None:
    """Give all files of a folder to a run; in a home they are flushed to the disk."""
    client.log_artifacts(run_id, str(made))
    place = folder(client.get_run(run_id).info.artifact_uri)
    if place is not None:
        files.flush(place)


def folder(address: str) -> Path | None:
    """Where the files of a run are; None where they are with a server."""
    return Path(url2pathname(urlsplit(address).path)) if address.startswith("file:") else None


@contextmanager
def artifact(client: Callable[[], MlflowClient], run_id: str, address: str, name: str) -> Iterator[Path]:
    """A file of a run, or its folder for an empty name; a copy that goes away when a server keeps it.

    Args:
        client: MLflow's, where it is needed.
        run_id: of the run.
        address: of its files.
        name: of the file.

    Raises:
        OSError: when there is none.
    """
    place = folder(address)
    if place is not None:
        yield place / name
        return
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as copied:
        try:
            path = client().download_artifacts(run_id, name, copied)
        except MlflowException as error:
            raise FileNotFoundError(name) from error
        yield Path(path)
