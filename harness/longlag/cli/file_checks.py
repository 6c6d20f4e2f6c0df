"""What `longlag doctor` says of the files in a home that numbers depend on: each is read, its checksum verified."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from longlag import files
from longlag.caches import cache_folder
from longlag.cli.finding import Finding, State
from longlag.kernels import targets
from longlag.tracking.home import Home
from longlag.tracking.pending import POINTS
from longlag.tracking.spool import Spool
from longlag.tracking.store import Store
from longlag.tracking.stored_run import RESULT, discard
from longlag.training.checkpoint import Checkpoints

STALE_DAYS = 30
DRAFT_SECONDS = 3600
"""A file that was begun longer ago and has no name yet is a killed process's."""


def kernels(repair: bool) -> Iterator[Finding]:
    """The libraries that kernel targets have built."""
    for name, target in targets.registered().items():
        found = target.cached()
        if found is None:
            continue
        for path, why in found.damaged.items():
            if repair:
                path.unlink(missing_ok=True)
            then = "removed" if repair else "it is built again when it is needed"
            about = f"{path}: {why}; {then}"
            yield Finding(what=f"kernels of {name}", state="repaired" if repair else "wrong", about=about)
        more = f", {found.unfinished} without a checksum, which are not used" if found.unfinished else ""
        yield Finding(what=f"kernels of {name}", state="ok", about=f"{found.folder}: {found.whole} files whole{more}")


def prepared(repair: bool) -> Iterator[Finding]:
    """What tasks keep outside of the home because it takes long to prepare."""
    try:
        folder = cache_folder()
    except OSError as error:
        yield Finding(what="prepared data", state="wrong", about=str(error))
        return
    found = sorted(
        path for suffix in (".arrow", ".npz") for path in folder.glob(f"*{suffix}") if files.beside(path).exists()
    )
    for path in found:
        try:
            files.verify(path)
        except (OSError, files.Damaged) as error:
            for gone in (files.beside(path), path) if repair else ():
                gone.unlink(missing_ok=True)
            about = f"{path}: {error}; {'removed' if repair else 'it is prepared again when a run needs it'}"
            yield Finding(what="prepared data", state="repaired" if repair else "wrong", about=about)
    yield Finding(what="prepared data", state="ok", about=f"{folder}: {len(found)} files were read")


def splits(home: Home, repair: bool) -> Iterator[Finding]:
    """The evaluation splits, which are drawn again where they are not there."""
    found = sorted(home.datasets.glob("*.arrow"))
    whole = 0
    for path in found:
        try:
            files.read_with_checksum(path)
            whole += 1
        except (OSError, ValueError) as error:
            why = "it has no checksum" if isinstance(error, FileNotFoundError) else error
            if repair:
                files.beside(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            then = "removed" if repair else "it is drawn again when a run needs it"
            yield Finding(what=f"split {path.name}", state="repaired" if repair else "wrong", about=f"{why}; {then}")
    drafts = files.drafts(home.datasets, DRAFT_SECONDS)
    if drafts:
        for path in drafts if repair else ():
            path.unlink(missing_ok=True)
        about = f"{len(drafts)} files that a killed process did not finish{'; removed' if repair else ''}"
        yield Finding(what="splits", state="repaired" if repair else "note", about=about)
    yield Finding(what="splits", state="ok", about=f"{whole} whole")


def checkpoints(home: Home, repair: bool) -> Iterator[Finding]:
    """Those that nobody went on from for a month, and those that are damaged."""
    for folder in sorted(path for path in home.checkpoints.glob("*") if path.is_dir()):
        days = _days(folder)
        saved = Checkpoints(folder)
        states = saved.states()
        damaged = {stem: why for stem, why in states.items() if why is not None}
        whole = [stem for stem in states if stem not in damaged]
        about = [f"at update {int(stem)}, {days:.0f} days old" for stem in whole[-1:]]
        about += [f"update {int(stem)} is damaged: {why}" for stem, why in damaged.items()]
        gone = days > STALE_DAYS or not whole
        if repair and (gone or damaged):
            for stem in damaged:
                saved.remove(stem)
            if gone:
                shutil.rmtree(folder, ignore_errors=True)
            about.append("removed")
        state: State = "note" if not (gone or damaged) else "repaired" if repair else "wrong"
        yield Finding(what=f"checkpoint {folder.name[:12]}", state=state, about="; ".join(about) or "empty")


def results(store: Store, repair: bool) -> Iterator[Finding]:
    """Results, weights and curves of the runs that finished; what a server holds is verified when it is used."""
    if not store.local:
        return
    count = unverified = 0
    for found in store.examine():
        count, unverified = count + 1, unverified + (found.wrong is None and not found.verified)
        if found.wrong is None:
            continue
        about = f"{found.path.name}: {found.wrong}"
        if found.path.name == RESULT:
            about += "; the run is trained again when it is asked for"
        if repair:
            discard(store.client, found)
        yield Finding(what=f"run {found.run_id}", state="repaired" if repair else "wrong", about=about)
    if unverified:
        about = f"{unverified} files of runs were written by an older longlag and have no checksum"
        yield Finding(what="results", state="note", about=about)
    yield Finding(what="results", state="ok", about=f"{count} files of runs were read")


def reports(home: Home) -> Iterator[Finding]:
    """The measurements that reports are made from."""
    for path in sorted(home.reports.rglob("*.json")):
        try:
            files.unsealed(path.read_bytes())
        except (OSError, files.Damaged) as error:
            yield Finding(
                what=f"report {path}", state="wrong", about=f"{error}; the study that wrote it writes it again"
            )


def uploads(home: Home, repair: bool) -> Iterator[Finding]:
    """What tracking servers missed: pending, or set aside because it failed again and again."""
    spool = Spool(home.spool)
    damaged = spool.damaged()
    for path, why in damaged.items():
        yield Finding(what=f"spool {path.name}", state="wrong", about=f"{why}; the run's own files are in {path}")
    aside = [path for path in spool.set_aside() if path not in damaged]
    if aside:
        about = f"{len(aside)} set aside, because they failed again and again"
        if repair:
            about += f"; {spool.retry()} are pending again"
        yield Finding(what="spool", state="repaired" if repair else "wrong", about=about)
    old = [path for path in spool.unfinished() if _days(path / POINTS) > STALE_DAYS]
    if old:
        for path in old if repair else ():
            shutil.rmtree(path, ignore_errors=True)
        about = f"{len(old)} of runs that nobody went on with for a month{'; removed' if repair else ''}"
        yield Finding(what="spool", state="repaired" if repair else "wrong", about=about)
    pending = spool.pending_uploads()
    if pending:
        yield Finding(
            what="spool",
            state="note",
            about=f"{len(pending)} runs wait for their tracking server; the next sweep delivers",
        )


def _days(path: Path) -> float:
    """Since it was changed."""
    return (time.time() - path.stat().st_mtime) / 86400
