"""Which run is meant: by its id, the beginning of its run_key, or as a study's best."""

from __future__ import annotations

import re

from longlag.analysis.best import best_run
from longlag.errors import UserError, quoted, suggestion
from longlag.study.report import report
from longlag.tracking.store import Store
from longlag.tracking.stored_run import StoredRun
from longlag.workspace import Workspace

SHORTEST = 4
"""Letters of a run_key that are enough to ask by."""
BEST = "best"


def find(name: str, store: Store) -> StoredRun:
    """The run that `name` means: ``RUN_ID``, the beginning of a ``run_key``, or ``STUDY:best``.

    The best run of a study is that of the best trial, by the mean over its seeds of the validation score, and of its
    seeds the one with the best validation score; the test split has no part in it.

    Raises:
        UserError: when there is none, or more than one.
    """
    study, colon, which = name.rpartition(":")
    if colon:
        if which != BEST:
            raise UserError(f"{quoted(name)}: of a study, only {study}:{BEST} can be named{suggestion(which, [BEST])}")
        found = best_run(report(study, Workspace(store.home, None if store.own else store.address)))
        if found is None:
            raise UserError(f"no trial of study {study!r} has come to its end without diverging: there is no best one")
        return store.get(found.run_id)
    if re.fullmatch(r"[0-9a-f]{32}", name):
        return store.get(name)
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},64}}", name):
        known = [row.name for row in store.studies()]
        hint = f"; did you mean '{name}:{BEST}'?" if name in known else suggestion(name, known)
        raise UserError(
            f"there is no run {quoted(name)}{hint} "
            f"(a run's id, {SHORTEST} or more letters of a run_key, or STUDY:{BEST})"
        )
    keyed = {run.tags["run_key"]: run for run in store.keyed(name)}
    if not keyed:
        raise UserError(f"no run in {store.uri} has a run_key that begins with {name!r}")
    if len(keyed) > 1:
        shown = ", ".join(key[: len(name) + 6] for key in sorted(keyed)[:5])
        raise UserError(f"{len(keyed)} runs have a run_key that begins with {name!r}: {shown} …; give more letters")
    return next(iter(keyed.values()))
