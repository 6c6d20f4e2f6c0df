"""The files of a run, wherever they are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from mlflow import MlflowClient


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
    if address.startswith("file:"):
        yield Path(url2pathname(urlsplit(address).path)) / name
        return
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client().download_artifacts(run_id, name, folder)
        except MlflowException as error:
            raise FileNotFoundError(name) from error
        yield Path(path)
