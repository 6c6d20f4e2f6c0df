"""What an earlier crash left behind in a home, and putting it right."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longlag import kernels, registry
from longlag.cli import file_checks
from longlag.cli.finding import Finding, State
from longlag.errors import UserError
from longlag.log import log
from longlag.study.storage import where
from longlag.study.store import StudyStore, names
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.workspace import Workspace

PACKAGES = ("longlag", "torch", "numpy", "mlflow", "optuna", "datasets", "safetensors", "pydantic")


def examine(workspace: Workspace | None, repair: bool = False) -> Iterator[Finding]:
    """Versions and the compiler; then, if there is a home, its disk, stores, trials, runs, files and uploads.

    Args:
        workspace: to look at; None where there is none yet.
        repair: put right what can be.
    """
    yield from _machine(repair)
    if workspace is None:
        yield Finding(what="home", state="note", about="none yet")
        return
    home = workspace.home
    yield from _disk(home)
    whole = True
    for database in ("mlflow.db", "optuna.db"):
        finding = _integrity(home.root / database)
        whole = whole and finding.state == "ok"
        yield finding
    if whole:
        study_stores: dict[StudyStore, set[int]] = {}
        if workspace.storage is not None or (home.root / "optuna.db").exists():
            yield from _trials(where(workspace), repair, study_stores)
        if workspace.tracking_uri is not None or (home.root / "mlflow.db").exists():
            store = workspace.store()
            yield from _runs(store, repair, study_stores)
            yield from file_checks.results(store, repair)
        for study_store in study_stores:
            study_store.storage.close()
    yield from file_checks.splits(home, repair)
    yield from file_checks.checkpoints(home, repair)
    yield from file_checks.reports(home)
    yield from file_checks.uploads(home, repair)


def _machine(repair: bool) -> Iterator[Finding]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding(what="versions", state="wrong", about=f"{name} is not installed")
    about = f"{', '.join(found)}; Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
    yield Finding(what="versions", state="ok", about=about)
    yield from file_checks.prepared(repair)
    yield from file_checks.kernels(repair)  # before a cell is built, which repairs what it needs
    yield _compiler()
    for kernel, members in _by_kernel().items():
        if members:
            yield Finding(what=f"{kernel} kernel", state="ok", about=", ".join(members))


def _compiler() -> Finding:
    """The compiler, judged by a cell that is built with it and run against the plain loop."""
    import torch

    from longlag.cells.lstm import LSTM

    tools = kernels.tags()
    about = ", ".join(f"{key} {value}" for key, value in tools.items()) or "none"
    slow = "gated cells run on the plain loop, several times slower"
    cell = LSTM()
    reason = kernels.refusal(cell)
    if reason is not None:
        missing = tools.get("compiler", "none") == "none"
        return Finding(what="compiler", state="note" if missing else "wrong", about=f"{about}: {reason}; {slow}")
    layer = cell.layer(2, 17, torch.Generator().manual_seed(0))
    x, weights = torch.linspace(-1, 1, 30).view(5, 3, 2), tuple(layer.parameters())
    results = []
    for kernel in ("plain", "compiled"):
        layer.kernel = kernel
        outputs, _ = layer(x)
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), weights)))
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*results, strict=True)):
        advice = "train with training.kernel=plain, or set CC to another compiler and run longlag doctor again"
        return Finding(what="compiler", state="wrong", about=f"{about}: a compiled LSTM gives wrong numbers; {advice}")
    return Finding(what="compiler", state="ok", about=f"{about}; an LSTM was built and run")


def _by_kernel() -> dict[str, list[str]]:
    """Cells by the loop that they take in float32 on this machine."""
    import torch

    from longlag.cells import GatedCell, ScanCell
    from longlag.kernels import which
    from longlag.spec import CellSpec

    cells: dict[str, list[str]] = {"compiled": [], "plain": [], "own": []}
    for name in registry.names("cell"):
        try:
            cell = CellSpec.model_validate(name).build()
            core = isinstance(cell, GatedCell | ScanCell)
            kernel = which(cell, torch.float32, torch.device("cpu"), "auto") if core else "own"
            cells[kernel].append(name)
        except Exception as error:  # a plug-in may be broken in any way
            log.info("cell %s: %s", name, error, exc_info=True)
            cells.setdefault("broken", []).append(f"{name} ({error})")
    return cells


def _disk(home: Home) -> Iterator[Finding]:
    free = shutil.disk_usage(home.root).free
    writable = os.access(home.root, os.W_OK)
    about = f"{home.root}, {free / 1e9:.1f} GB free{'' if writable else ', cannot be written'}"
    yield Finding(what="home", state="ok" if writable and free > 1e8 else "wrong", about=about)


def _integrity(path: Path) -> Finding:
    if not path.exists():
        return Finding(what=path.name, state="ok", about="not made yet")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        said = [str(error)]
    if said == ["ok"]:
        return Finding(what=path.name, state="ok", about=f"whole, {path.stat().st_size / 1e6:.1f} MB")
    about = f"{'; '.join(said)}: restore it from a backup, or `sqlite3 {path} .recover` saves what can be read"
    return Finding(what=path.name, state="wrong", about=about)


def _trials(url: str, repair: bool, study_stores: dict[StudyStore, set[int]]) -> Iterator[Finding]:
    """Trials that a dead process left running; their numbers go into `study_stores`."""
    for name in names(url):
        try:
            study_store = StudyStore.stored(name, url)
        except UserError as error:
            yield Finding(what=f"study {name}", state="note", about=str(error))
            continue
        with study_store.lock():
            dead = study_store.recover_orphans() if repair else study_store.dead()
        study_stores[study_store] = set(dead)
        about = f"{study_store.progress()} finished"
        if dead:
            trials = ", ".join(map(str, dead))
            what = "were left running by a dead process" + ("; they are queued again" if repair else "")
            about += f"; {trials} {what}"
        state: State = "ok" if not dead else "repaired" if repair else "wrong"
        yield Finding(what=f"study {name}", state=state, about=about)


def _runs(store: Store, repair: bool, study_stores: dict[StudyStore, set[int]]) -> Iterator[Finding]:
    """Runs that a dead process left RUNNING."""

    def running() -> dict[str, set[int]]:
        return {
            study_store.spec.name: study_store.progress().running - dead for study_store, dead in study_stores.items()
        }

    dead = store.dead(trials=running)
    if dead and repair:
        for experiment in {run.info.experiment_id for run in dead}:
            store.mark_killed(experiment, running)
    if dead:
        what = "are marked as killed" if repair else "were left RUNNING by a dead process"
        yield Finding(what="runs", state="repaired" if repair else "wrong", about=f"{len(dead)} {what}")
    else:
        yield Finding(what="runs", state="ok", about="none is left RUNNING by a dead process")
