"""Looking at a home without making one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.registry import UserError

if TYPE_CHECKING:
    from harness.tracking.home import Home

DEFAULT = "longlag-home"


def folder(home: Path | None) -> Path:
    return home or Path(os.environ.get("LONGLAG_HOME") or DEFAULT)


def existing(home: Path | None) -> Home | None:
    """The home, or None where there is none yet."""
    if not folder(home).exists():
        return None
    from harness.tracking.home import Home

    return Home.open(folder(home), create=False)


def studies(home: Path | None) -> list[dict[str, Any]]:
    """Built-in studies and those begun under this home, by name."""
    from harness import specfile
    from harness.cli import studies as built_in

    rows: dict[str, dict[str, Any]] = {}
    for name in built_in.names():
        fields = specfile.parse(built_in.text(name), name)
        rows[name] = _row(name, str(fields.get("description", "")), "built in", "not begun", fields.get("space", {}))
    opened = existing(home)
    if opened is not None:
        from optuna.trial import TrialState

        from harness.search import ledger

        for name in ledger.names(opened.optuna_url):
            spec, study = ledger.stored(name, opened.optuna_url)
            book = ledger.Ledger(spec, study, ledger.connect(opened.optuna_url))
            done = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in book.trials())
            of = "" if book.total is None else f" of {book.total}"
            origin = f"built in, begun in {opened.root.name}" if name in rows else f"begun in {opened.root.name}"
            rows[name] = _row(name, spec.description, origin, f"{done}{of}", spec.space)
    return list(rows.values())


def _row(name: str, description: str, origin: str, trials: str, space: Any) -> dict[str, Any]:
    about = " ".join(description.split())
    return {"name": name, "about": about, "trials": trials, "axes": list(space), "from": origin}


def none_begun(study: str | None, home: Path | None) -> UserError:
    """What to say where there is no home to look into."""
    what = "nothing" if study is None else f"no study named {study!r}"
    return UserError(
        f"there is {what} in {folder(home)}: no such folder; name another by --home, or begin: longlag sweep quickstart"
    )
