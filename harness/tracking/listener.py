"""Records one run in MLflow as it goes on."""

from __future__ import annotations

import csv
import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.probes import Curve
from harness.spec import RunSpec
from harness.task import Answer, Array, Batch, Task
from harness.tracking import describe, figures, throughtime
from harness.training import Listener, RunResult, Split

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from torch import Tensor

WEIGHTS = "weights.safetensors"
FLUSH_SECONDS = 3.0
PATIENCE_SECONDS = 30.0
BATCH, PARAMETERS = 1000, 100  # as many as MLflow takes at once
COMPLETE = ("solved", "budget", "diverged")


class MlflowListener(Listener):
    """One run in MLflow: parameters, tags and datasets at its start, metrics in batches, curves, the result.

    Args:
        client: of the store.
        experiment_id: where the run is made.
        parent: run that it belongs to.
        tags: on top of its own.
        name: as it stands in the UI; MLflow makes one up when not given.

    Attributes:
        run_id: MLflow's; None before the run has started.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment_id: str,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> None:
        self.client, self.experiment_id, self.parent, self.name = client, experiment_id, parent, name
        self.tags = dict(tags or {})
        self.run_id: str | None = None
        self._ended = False
        self._planned: tuple[int, ...] = ()
        self._flow, self._training = throughtime.Flow(), throughtime.Training()
        self._lag: Sequence[Curve] = ()
        self._buffer: list[Metric] = []
        self._next, self._late = 0.0, False

    # -- what training tells ----------------------------------------------------------------------------------------

    def started(
        self, spec: RunSpec, splits: Mapping[str, Split], parameters: int, environment: Mapping[str, str]
    ) -> None:
        from mlflow.entities import Param

        own = describe.tags(spec, environment)
        if self.parent is not None:
            own[describe.PARENT] = self.parent
        if describe.STUDY in self.tags:
            own["study"] = self.tags[describe.STUDY]
        run = self.client.create_run(self.experiment_id, tags={**own, **self.tags}, run_name=self.name)
        self.run_id = run.info.run_id
        params = [Param(key, value) for key, value in describe.parameters(spec).items()]
        for start in range(0, len(params), PARAMETERS):
            self.client.log_batch(self.run_id, params=params[start : start + PARAMETERS])
        self.client.log_inputs(self.run_id, [describe.dataset_input(split) for split in splits.values()])
        self._planned = throughtime.planned(spec.training.updates, spec.training.eval_every)
        self._next = time.monotonic() + FLUSH_SECONDS

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._keep(name, value, update)
        self._flush_when_due()

    def evaluated(self, update: int, metrics: Mapping[str, float], score: float) -> None:
        self.measured(update, {"validation/score": score})

    def flow(self, update: int, curves: Sequence[Curve]) -> None:
        self._flow.add(update, curves)
        if update in self._planned:
            self._keep_curves(curves, update)
        self._flush_when_due()

    def training_flow(self, update: int, curves: Sequence[Curve]) -> None:
        self._training.add(update, curves)

    def lag(self, update: int, curves: Sequence[Curve]) -> None:
        self._lag = curves
        if update == 0:
            self._keep_lags(curves, update)

    def weights(self, values: Mapping[str, Tensor]) -> None:
        from safetensors.torch import save

        kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in values.items()}
        with tempfile.TemporaryDirectory() as made:
            (Path(made) / WEIGHTS).write_bytes(save(kept))
            self.client.log_artifacts(self._id, made)

    def predicted(self, task: Task, outputs: Array, answer: Answer | None, batch: Batch) -> None:
        columns = task.table(outputs, answer, batch)
        with tempfile.TemporaryDirectory() as made:
            with (Path(made) / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)  # MLflow's UI shows such a file as a table
                rows.writerow(columns)
                rows.writerows(zip(*columns.values(), strict=True))
            figures.predictions(task, outputs, answer, batch, Path(made) / "predictions.png")
            self.client.log_artifacts(self._id, made)

    def finished(self, result: RunResult) -> None:
        self._keep_curves(self._flow.last, None)
        self._keep_lags(self._lag, None)
        for curve in self._flow.last:
            for name, values in throughtime.bands(curve):
                self._keep_all(name, throughtime.lag_series(values))
        for name, value in describe.final(result).items():
            self._keep(name, value, result.updates)
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / "result.json").write_text(result.model_dump_json(indent=1), encoding="utf-8")
            (folder / "spec.json").write_text(result.spec.canonical(), encoding="utf-8")
            if self._flow.updates:
                self._flow.write(folder)
            if self._training.updates:
                self._training.write(folder)
            self.client.log_artifacts(self._id, made)
        self._flush()
        self._end("FINISHED" if result.outcome in COMPLETE else "KILLED", result.outcome, result.reason)

    def failed(self, error: BaseException) -> None:
        """End the run for an exception, whatever the store does: the exception in hand matters more."""
        if self.run_id is None or self._ended:
            return
        by_hand = isinstance(error, KeyboardInterrupt)
        with suppress(Exception):
            self._flush()
        with suppress(Exception):
            self._end(
                "KILLED" if by_hand else "FAILED", "interrupted" if by_hand else "failed", describe.sentence(error)
            )

    # -- what MLflow gets -------------------------------------------------------------------------------------------

    @property
    def _id(self) -> str:
        if self.run_id is None:
            raise RuntimeError("the run has not started")
        return self.run_id

    def _keep(self, name: str, value: float, step: int) -> None:
        """Infinity would be stored as 1.8e308, and NaN drawn as a gap: neither is logged, `train/diverged` tells."""
        from mlflow.entities import Metric

        if math.isfinite(value):
            self._buffer.append(Metric(describe.metric_name(name), float(value), int(time.time() * 1000), step))

    def _keep_curves(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.series_name(curve, update), throughtime.series(curve))

    def _keep_lags(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.lag_name(curve, update), throughtime.lag_series(curve.by_lag))

    def _keep_all(self, name: str, points: Iterable[tuple[int, float]]) -> None:
        for step, norm in points:
            self._keep(name, norm, step)

    def _flush_when_due(self) -> None:
        now = time.monotonic()
        if now < self._next and (len(self._buffer) < BATCH or self._late):
            return
        try:
            self._flush()
            self._next, self._late = now + FLUSH_SECONDS, False
        except Exception:  # a store that fails for a while ends no run of hours: what is kept is tried again
            self._next, self._late = now + PATIENCE_SECONDS, True

    def _flush(self) -> None:
        """Write what is kept; what was written is kept no more, so that no point is written twice."""
        while self._buffer:
            self.client.log_batch(self._id, metrics=self._buffer[:BATCH])
            del self._buffer[:BATCH]

    def _end(self, status: str, outcome: str, reason: str) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self._id, tags=[RunTag("outcome", outcome), RunTag("reason", reason)])
        self.client.set_terminated(self._id, status)
        self._ended = True
