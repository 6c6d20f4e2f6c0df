"""Records one run in MLflow while it trains."""

from __future__ import annotations

import csv
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longlag import escape
from longlag.credentials import bare
from longlag.errors import one_line
from longlag.parts import Parts
from longlag.probes import Curve
from longlag.spec import RunSpec
from longlag.task import Answer, Array, Batch, Task
from longlag.tracking import accuracy, delivery, describe, figures, throughtime
from longlag.tracking.delivery import Delivery
from longlag.tracking.spool import Spool
from longlag.tracking.stored_run import RESULT, result_file
from longlag.tracking.upload import Logged, Upload
from longlag.training import RunCallback, RunResult
from longlag.training.weights import WEIGHTS, packed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch import Tensor

    from longlag.training import Split

ACCURACY = "accuracy_by_length.png"
COMPLETE = ("solved", "budget", "diverged")


class MlflowCallback(RunCallback):
    """One run in MLflow: parameters, tags and datasets at its start, metrics in batches, curves, the result.

    Args:
        client: of the store.
        experiment_id: where the run is made.
        parent: run that it belongs to.
        tags: on top of its own.
        name: as it stands in the UI; MLflow makes one up when not given.
        spool: keeps what a server does not take; None for a store that is a file, whose failure is an error.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        name: str | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.client, self.experiment_id, self.parent, self.spool = client, experiment_id, parent, spool
        self.name = None if name is None else escape.mlflow(name, describe.NAME_LIMIT)
        self.tags = {key: escape.mlflow(value, describe.TAG_LIMIT) for key, value in (tags or {}).items()}
        self._delivery: Delivery | None = None
        self._ended = False
        self._spec: RunSpec
        self._planned: tuple[int, ...] = ()
        self._flow, self._training = throughtime.CurveHistory(), throughtime.TrainingCurveHistory()
        self._lag = throughtime.CurveHistory(throughtime.LAG_SECTION, "∂ℓ_τ")
        self._files: dict[str, bytes] = {}
        self._before: Mapping[str, Any] = {}  # of a checkpoint

    @property
    def run_id(self) -> str | None:
        """MLflow's; None before the run has started, or could be told to the store."""
        return None if self._delivery is None else self._delivery.upload.run_id

    # -- what training tells ----------------------------------------------------------------------------------------

    def started(
        self, spec: RunSpec, splits: Mapping[str, Split], parameters: int, environment: Mapping[str, str]
    ) -> None:
        self._spec = spec
        own = describe.tags(spec, environment)
        if self.parent is not None:
            own[describe.PARENT] = self.parent
        if describe.STUDY in self.tags:
            own["study"] = self.tags[describe.STUDY]
        self._planned = throughtime.planned(spec.training.updates, spec.training.eval_every)
        upload = Upload(
            uri=bare(str(self.client.tracking_uri)),
            experiment_id=self.experiment_id,
            name=self.name,
            started=int(time.time() * 1000),
            tags={**own, **self.tags},
            params=describe.parameters(spec),
            inputs=[describe.dataset_fields(split) for split in splits.values()],
        )
        self._delivery = delivery.begun(self.client, upload, self.spool, self._before)

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        self._keep((name, update, value) for name, value in values.items())

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.measured(update, {"validation/score": score})

    def flow(self, update: int, curves: Sequence[Curve]) -> None:
        self._flow.add(update, curves)
        if update in self._planned:
            self._keep_curves(curves, update)

    def training_flow(self, update: int, curves: Sequence[Curve]) -> None:
        self._training.add(update, curves)

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        self._lag.add(update, curves)
        if update == 0:
            self._keep_lags(curves, update)

    def weights(self, values: Mapping[str, Tensor]) -> None:
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in values.items()}
        self._files[WEIGHTS] = packed(self._spec, copies)  # for `finished`

    def predicted(self, task: Task, outputs: Array, answer: Answer | None, batch: Batch) -> None:
        parts = Parts()
        with tempfile.TemporaryDirectory() as made:
            table, picture = Path(made) / "predictions.csv", Path(made) / "predictions.png"
            parts.make("the table of predictions", lambda: _write(task.table(outputs, answer, batch), table))
            parts.make("the picture of predictions", lambda: figures.predictions(task, outputs, answer, batch, picture))
            self._files |= {path.name: path.read_bytes() for path in Path(made).iterdir()}  # for `finished`

    def finished(self, result: RunResult) -> None:
        if result.outcome != "interrupted":  # that one is taken up again, and its last evaluation comes later
            self._keep_curves(self._flow.last, None)
            self._keep_lags(self._lag.last, None)
            for curve in self._flow.last:
                for name, points in throughtime.bands(curve):
                    self._keep_all(name, points)
            self._keep((name, result.updates, value) for name, value in describe.final(result).items())
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / RESULT).write_bytes(result_file(result))
            (folder / "spec.json").write_text(result.spec.canonical(), encoding="utf-8")
            for name, data in self._files.items():
                (folder / name).write_bytes(data)
            parts = Parts()
            parts.make("the picture of accuracy by length", lambda: accuracy.of_run(result, folder / ACCURACY))
            for history in (self._flow, self._lag, self._training):
                if history.updates:
                    history.write(folder, map=history is not self._flow or not self._training.updates)
            status = "FINISHED" if result.outcome in COMPLETE else "KILLED"
            self._started.end(folder, status, {"outcome": result.outcome, "reason": result.reason})
            self._ended = True

    def failed(self, error: BaseException) -> None:
        """End the run for an exception, whatever the store does: that exception matters more."""
        if self._delivery is None or self._ended:
            return
        by_hand = isinstance(error, KeyboardInterrupt)
        status, outcome = ("KILLED", "interrupted") if by_hand else ("FAILED", "failed")
        self._delivery.fail(status, {"outcome": outcome, "reason": one_line(error)[:1000]})

    # -- a run that is taken up again ---------------------------------------------------------------------------------

    def saved(self) -> Mapping[str, Any]:
        curves = throughtime.under("flow", self._flow.saved())
        curves |= throughtime.under("lag", self._lag.saved())
        curves |= throughtime.under("training", self._training.saved())
        return {**self._started.saved(), **curves}

    def restored(self, state: Mapping[str, Any]) -> None:
        self._before = state
        self._flow.restore(throughtime.within("flow", state))
        self._lag.restore(throughtime.within("lag", state))
        self._training.restore(throughtime.within("training", state))

    # -- what MLflow gets -------------------------------------------------------------------------------------------

    @property
    def _started(self) -> Delivery:
        if self._delivery is None:
            raise RuntimeError("the run has not started")
        return self._delivery

    def _keep(self, points: Iterable[tuple[str, int, float]]) -> None:
        """Name, step and value of each.

        Infinity would be stored as 1.8e308, and NaN drawn as a gap: neither is logged, `train/diverged` tells.
        """
        now = int(time.time() * 1000)
        finite = ((describe.metric_name(name), step, value) for name, step, value in points if math.isfinite(value))
        self._started.add([Logged(key, float(value), now, step) for key, step, value in finite])

    def _keep_curves(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.series_name(curve, update), throughtime.series(curve))

    def _keep_lags(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.lag_name(curve, update), throughtime.lag_series(curve.by_lag))

    def _keep_all(self, name: str, points: Iterable[tuple[int, float]]) -> None:
        self._keep((name, step, norm) for step, norm in points)


def _write(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """A table as MLflow's UI shows it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
