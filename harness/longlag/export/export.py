"""A run as a folder: everything that it takes to repeat it, to load it, and to draw its curves."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longlag.errors import UserError
from longlag.export import curves, graph, place, readme
from longlag.export.operators import NoOperator
from longlag.tracking.history import points
from longlag.tracking.store import Store
from longlag.tracking.stored_run import StoredRun
from longlag.training.data import part, splits
from longlag.training.trained import SPEC, Trained
from longlag.training.weights import WEIGHTS, packed

COMPARED = 64
"""Sequences of the test split on which ONNX Runtime is held against the harness."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: where.
        files: their names.
        onnx: the graph; None where there is none.
        why_not: the reason then.
    """

    folder: Path
    files: tuple[str, ...]
    onnx: graph.Onnx | None
    why_not: str


def export(run: StoredRun, store: Store, folder: Path, requested_as: str = "", force: bool = False) -> Exported:
    """Write the folder of a run; either all of it is there afterwards, or what was there before.

    Args:
        run: which one.
        store: where it is recorded.
        folder: made; an earlier export there is replaced with `force`.
        requested_as: how the run was named, for the README.
        force: replace an earlier export.

    Raises:
        UserError: when the run keeps no weights, or the folder holds anything else or cannot be written.
    """
    with _writing(folder):
        place.refuse(folder, force)
    spec, weights = store.trained(run.run_id)
    if run.result is None:
        raise UserError(f"run {run.run_id} has no result that can be read: it failed, or an older longlag wrote it")
    trained = Trained(spec, weights)
    made, why_not = _onnx(trained, weights, store)
    logged = points(store.client, run.run_id)
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as draft:
            here = Path(draft) / "run"
            with store.files(run.run_id) as recorded:
                shutil.copytree(recorded, here)
            (here / WEIGHTS).write_bytes(packed(spec, weights))
            curves.write_parquet(logged, here / "curves.parquet")
            _write_json(here / "curves.json", curves.summary(logged))
            _write_json(here / SPEC, spec.model_dump(mode="json"))
            _write_json(here / "environment.json", {**run.result.environment, **_versions(run)})
            if made is not None:
                (here / "model.onnx").write_bytes(made.data)
            text = readme.text(run, trained, made, why_not, requested_as)
            (here / "README.md").write_text(text, encoding="utf-8")
            place.mark(here, spec.run_key)
            names = tuple(sorted(path.name for path in here.iterdir()))
            place.put(here, folder)
    return Exported(folder, names, made, why_not)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error


def _onnx(trained: Trained, weights: Mapping[str, Any], store: Store) -> tuple[graph.Onnx | None, str]:
    import torch

    single = trained if trained.dtype is torch.float32 else Trained(trained.spec, weights, torch.float32)
    try:
        split = splits(trained.spec, store.home.datasets)["test"]
        count = min(COMPARED, split.batch.size)
        return graph.convert(single, part(split.batch, 0, count, trained.signature.per_step)), ""
    except (NoOperator, UserError) as error:
        return None, str(error)


def _versions(run: StoredRun) -> dict[str, str]:
    """What else the run's identity rests on."""
    assert run.result is not None
    spec = run.result.spec
    return {"task_version": str(spec.task.version), "cell_version": str(spec.cell.version)}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
