"""A run that its store has lost, made again from its own files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from longlag import escape
from longlag.credentials import bare
from longlag.log import log
from longlag.spec import RunSpec
from longlag.tracking import describe
from longlag.tracking.callback import COMPLETE
from longlag.tracking.reading import RunRow
from longlag.tracking.store import Store
from longlag.tracking.stored_run import RESULT, UNUSABLE, read_result
from longlag.tracking.upload import Logged, Upload
from longlag.training import RunResult


def restore(
    store: Store,
    run_id: str,
    run_key: str,
    experiment_id: str,
    parent: str | None,
    tags: Mapping[str, str],
    name: Callable[[RunSpec], str],
) -> bool:
    """Make a run from the files that a lost one left in the home; says whether it left them.

    Its parameters, tags and last figures are there again; the points that it logged on the way are not.

    Args:
        store: without the run. One that is there and deleted was deleted by hand.
        run_id: of the lost run, which the new one names in its tag ``longlag.adopted_from``.
        run_key: its identity.
        experiment_id: where the new one is made.
        parent: run that it belongs to.
        tags: which study and trial it belongs to.
        name: as it stands in the UI, from what it ran.
    """
    folder = store.home.artifacts / run_id / "artifacts"
    result = _result(folder, run_id, run_key)
    if not store.local or result is None or store.reader.run(run_id) is not None:
        return False
    ended = (folder / RESULT).stat().st_mtime
    own = {**describe.tags(result.spec, result.environment), describe.ADOPTED: run_id}
    if parent is not None:
        own[describe.PARENT] = parent
    if describe.STUDY in tags:
        own["study"] = tags[describe.STUDY]
    upload = Upload(
        uri=bare(store.address),
        experiment_id=experiment_id,
        name=escape.mlflow(name(result.spec), describe.NAME_LIMIT),
        started=int((ended - result.wall_seconds) * 1000),
        tags={**own, **{key: escape.mlflow(value, describe.TAG_LIMIT) for key, value in tags.items()}},
        params=describe.parameters(result.spec),
    )
    figures = describe.final(result) | {f"validation/{metric}": value for metric, value in result.validation.items()}
    figures["validation/score"] = result.validation_score
    points = [
        Logged(describe.metric_name(key), value, int(ended * 1000), result.updates)
        for key, value in figures.items()
        if math.isfinite(value)
    ]
    status = "FINISHED" if result.outcome in COMPLETE else "KILLED"
    upload.set_end(status, {"outcome": result.outcome, "reason": result.reason}, int(ended * 1000))
    upload.begin(store.client)
    upload.end(store.client, points, folder)
    return True


def _result(folder: Path, run_id: str, run_key: str) -> RunResult | None:
    def no_series(name: str) -> list[tuple[int, float]]:
        raise ValueError(f"{name} was logged in the store that is lost")

    row = RunRow(run_id, "", "FINISHED", folder.as_uri(), {"run_key": run_key})
    try:
        return read_result(row, lambda name: nullcontext(folder / name), no_series)
    except OSError:
        return None
    except UNUSABLE as error:
        log.info("run %s is not read from its files: %s", run_id, error, exc_info=True)
        return None
