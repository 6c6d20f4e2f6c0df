"""What carries a run to its store while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from longlag.log import log
from longlag.tracking.background import LEAST_SECONDS, Background
from longlag.tracking.direct import Direct
from longlag.tracking.pending import Pending
from longlag.tracking.spool import Spool
from longlag.tracking.upload import TOKEN, Logged, Upload

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Delivery(Protocol):
    """Carries one run to its store.

    Attributes:
        upload: the run.
    """

    upload: Upload

    def begin(self) -> None:
        """Begin the run, or continue that of a checkpoint."""

    def add(self, points: Sequence[Logged]) -> None:
        """Log points."""

    def saved(self) -> Mapping[str, Any]:
        """What a checkpoint needs so that no point before it is lost, as JSON values."""

    def end(self, files: Path, status: str, tags: Mapping[str, str]) -> None:
        """End the run, with the files of a folder."""

    def fail(self, status: str, tags: Mapping[str, str]) -> None:
        """End the run for an exception, which matters more than whatever the store does."""


def begun(client: MlflowClient, upload: Upload, spool: Spool | None, before: Mapping[str, Any]) -> Delivery:
    """Carry a run to a store, from now on.

    Args:
        client: of the store.
        upload: the run.
        spool: keeps what a server does not take; None for a store that is a file.
        before: what `Delivery.saved` gave to the checkpoint that the run goes on from; empty for none.

    Raises:
        Exception: when a store that is a file fails.
    """
    upload.continues = before.get("run_id")
    unwritten = [Logged(*point) for point in before.get("buffer", ())]
    delivery = (
        Direct(client, upload, unwritten)
        if spool is None
        else Background(client, _pending(upload, spool, before, unwritten))
    )
    delivery.begin()
    return delivery


def _pending(upload: Upload, spool: Spool, before: Mapping[str, Any], unwritten: Sequence[Logged]) -> Pending:
    """The upload's folder: the one that the checkpoint names, or a new one."""
    found = _earlier(spool, before) if "upload" in before else None
    if found is None:
        if "token" in before:  # it was delivered, or is just now
            upload.tags[TOKEN], upload.tried = before["token"], True
        made = Pending.begin(spool.folder, upload)
        made.add(unwritten)
        return made
    earlier, found.upload = found.upload, upload
    upload.continues = None  # all its points are in the folder
    if earlier.place == upload.place:
        upload.tags[TOKEN], upload.started = earlier.token, earlier.started
        upload.tried, upload.described, upload.continues = True, earlier.described, earlier.run_id
    found.write()
    return found


def _earlier(spool: Spool, before: Mapping[str, Any]) -> Pending | None:
    """The folder that a checkpoint names, as it was then; None where it is not there any more."""
    folder = spool.folder / before["upload"]
    found = None
    try:
        found = Pending.take(folder, LEAST_SECONDS)
        if found is not None:
            found.cut(before["length"], before["points"])
    except (OSError, ValueError, TypeError) as error:
        log.warning("points in %s that were not delivered are lost: %s", folder, error, exc_info=True)
        if found is not None:
            found.release()
        return None
    return found
