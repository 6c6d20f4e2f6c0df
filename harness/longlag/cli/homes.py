"""Looking at a home without making one."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag.errors import UserError, quoted

if TYPE_CHECKING:
    from longlag.tracking.home import Home
    from longlag.workspace import Workspace

DEFAULT = "longlag-home"


def folder(home: Path | None) -> Path:
    return home or Path(os.environ.get("LONGLAG_HOME") or DEFAULT)


def existing(home: Path | None) -> Home | None:
    """The home, or None where there is none yet."""
    if not folder(home).exists():
        return None
    from longlag.tracking.home import Home

    return Home.open(folder(home), create=False)


def workspace(home: Path | None, tracking_uri: str | None, storage: str | None) -> Workspace | None:
    """The workspace, or None where there is neither a home nor a storage to find studies in."""
    exists = folder(home).exists()
    if not exists and storage is None:
        return None
    from longlag.workspace import Workspace

    return Workspace.open(folder(home), tracking_uri, storage, create=not exists)


def studies(home: Path | None, storage: str | None = None) -> list[dict[str, Any]]:
    """Built-in studies and those begun under this home, or in this storage, by name."""
    from longlag import specfile
    from longlag.cli import studies as built_in

    rows: dict[str, dict[str, Any]] = {}
    for name in built_in.names():
        fields = specfile.parse(built_in.text(name), name)
        rows[name] = _row(name, str(fields.get("description", "")), "built in", "not begun", fields.get("space", {}))
    url = studies_url(home, storage)
    if url is not None:
        from optuna.trial import TrialState

        from longlag.study.store import StudyStore, names

        place = folder(home).absolute().name if storage is None else "the storage"
        for name in names(url):
            study_store = StudyStore.stored(name, url)
            with closing(study_store.storage):
                done = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in study_store.trials())
            of = "" if study_store.total is None else f" of {study_store.total}"
            origin = f"built in, begun in {place}" if name in rows else f"begun in {place}"
            rows[name] = _row(name, study_store.spec.description, origin, f"{done}{of}", study_store.spec.space)
    return list(rows.values())


def studies_url(home: Path | None, storage: str | None) -> str | None:
    """Where studies are kept: the storage given, else the home's; None where there is none yet."""
    if storage is not None:
        from longlag.study.storage import address

        return address(storage)
    opened = existing(home)
    return None if opened is None else opened.optuna_url


def _row(name: str, description: str, origin: str, trials: str, space: Any) -> dict[str, Any]:
    about = " ".join(description.split())
    return {"name": name, "about": about, "trials": trials, "axes": list(space), "from": origin}


def none_begun(study: str | None, home: Path | None) -> UserError:
    """What to say where there is no home to look into."""
    what = "nothing" if study is None else f"no study named {quoted(study)}"
    return UserError(
        f"there is {what} in {folder(home)}: no such folder; name another by --home, or begin: longlag sweep quickstart"
    )
