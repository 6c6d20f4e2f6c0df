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
from longlag.log import log
from longlag.parts import Parts
from longlag.probes import Curve
from longlag.spec import RunSpec
from longlag.task import Answer, Array, Batch, Task
from longlag.tracking import artifacts, connection, describe, figures, throughtime
from longlag.tracking.recorded import RESULT, result_file
from longlag.tracking.spool import BATCH, Logged, PendingUpload, Spool, metrics
from longlag.training import RunCallback, RunResult
from longlag.training.weights import WEIGHTS, packed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunTag
    from torch import Tensor

    from longlag.training import Split

FLUSH_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
COMPLETE = ("solved", "budget", "diverged")


class MlflowCallback(RunCallback):
    """One run in MLflow: parameters, tags and datasets at its start, metrics in batches, curves, the result.

    Args:
        client: of the store.
        experiment_id: where the run is made.
        parent: run that it belongs to.
        tags: on top of its own.
        name: as it stands in the UI; MLflow makes one up when not given.
        spool: what takes the run when the store, a server, is gone at its end; without one that is an error.

    Attributes:
        run_id: MLflow's; None before the run has started, or could be told to the store.
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
        self.spool = spool
        self._upload: PendingUpload | None = None
        self.client, self.experiment_id, self.parent = client, experiment_id, parent
        self.name = None if name is None else escape.mlflow(name, describe.NAME_LIMIT)
        self.tags = {key: escape.mlflow(value, describe.TAG_LIMIT) for key, value in (tags or {}).items()}
        self.run_id: str | None = None
        self._ended = False
        self._spec: RunSpec
        self._planned: tuple[int, ...] = ()
        self._flow, self._training = throughtime.Flow(), throughtime.Training()
        self._lag = throughtime.Flow(throughtime.LAG_SECTION, "∂ℓ_τ")
        self._buffer: list[Logged] = []
        self._next, self._late = 0.0, False
        self._files: dict[str, bytes] = {}
        self._before: Mapping[str, Any] = {}  # of a checkpoint
        self._there: set[tuple[str, int]] = set()  # points that were written before the run was taken up again

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
        self._next = time.monotonic() + FLUSH_SECONDS
        if self._before and self._continue({**own, **self.tags}):
            return
        self._upload = PendingUpload(
            uri=bare(str(self.client.tracking_uri)),
            experiment_id=self.experiment_id,
            run_id=None,
            name=self.name,
            started=int(time.time() * 1000),
            tags={**own, **self.tags},
            params=describe.parameters(spec),
            inputs=[describe.dataset_fields(split) for split in splits.values()],
        )
        try:
            self.run_id = self._upload.begin(self.client)
        except Exception as error:  # a client raises nearly anything, of its own and of what it calls
            if self.spool is None:
                raise
            self._is_late("the run cannot be begun there yet", error)

    def measured(self, update: int, values: Mapping[str, float]) -> None:
        self._keep((name, update, value) for name, value in values.items())
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
        self._lag.add(update, curves)
        if update == 0:
            self._keep_lags(curves, update)

    def weights(self, values: Mapping[str, Tensor]) -> None:
        kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in values.items()}
        self._files[WEIGHTS] = packed(self._spec, kept)  # for `finished`

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
            for kept in (self._flow, self._lag, self._training):
                if kept.updates:
                    kept.write(folder, map=kept is not self._flow or not self._training.updates)
            status = "FINISHED" if result.outcome in COMPLETE else "KILLED"
            try:
                self._reach()
                artifacts.log(self.client, self._id, folder)
                self._end(status, result.outcome, result.reason)
            except Exception as error:
                if self.spool is None:
                    raise
                log.warning(
                    "%s does not take the run now, which is kept in %s and delivered later: %s",
                    self.client.tracking_uri, self.spool.folder, error, exc_info=True,
                )  # fmt: skip
                self._put_by(self.spool, folder, status, result)

    def _put_by(self, spool: Spool, files: Path, status: str, result: RunResult) -> None:
        """Leave to the spool what the server does not take now."""
        assert self._upload is not None
        self._upload.metrics = self._buffer
        self._upload.status, self._upload.ended = status, int(time.time() * 1000)
        self._upload.last_tags = {"outcome": result.outcome, "reason": escape.mlflow(result.reason, describe.TAG_LIMIT)}
        spool.keep(self._upload, files)
        self._ended = True

    def failed(self, error: BaseException) -> None:
        """End the run for an exception, whatever the store does: that exception matters more."""
        if self.run_id is None or self._ended:
            return
        by_hand = isinstance(error, KeyboardInterrupt)
        status, outcome = ("KILLED", "interrupted") if by_hand else ("FAILED", "failed")
        try:
            self._flush()
        except Exception as lost:  # the exception that ends the run matters more
            log.warning("%d points of run %s are lost: %s", len(self._buffer), self.run_id, lost, exc_info=True)
        self._buffer = []  # what could not be written must not keep the run from its end
        try:
            self._end(status, outcome, one_line(error)[:1000])
        except Exception as lost:
            log.warning("run %s cannot be marked as %s: %s", self.run_id, status, lost, exc_info=True)

    # -- a run that is taken up again ---------------------------------------------------------------------------------

    def saved(self) -> Mapping[str, Any]:
        curves = throughtime.under("flow", self._flow.saved())
        curves |= throughtime.under("lag", self._lag.saved())
        curves |= throughtime.under("training", self._training.saved())
        return {"run_id": self.run_id, "buffer": [list(point) for point in self._buffer], **curves}

    def restored(self, state: Mapping[str, Any]) -> None:
        self._before = state
        self._flow.restore(throughtime.within("flow", state))
        self._lag.restore(throughtime.within("lag", state))
        self._training.restore(throughtime.within("training", state))

    def _continue(self, tags: Mapping[str, str]) -> bool:
        """Take up the run of the checkpoint, so that no point is written twice; says whether it is the one to go on.

        A run that was begun elsewhere, in another study, stays there: a new one is made, with the points so far.
        """
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(self._before["run_id"])
        except MlflowException:  # somebody deleted it
            return False
        series = [self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        points = [Logged(m.key, m.value, m.timestamp, m.step) for found in series for m in found]
        kept = [Logged(*values) for values in self._before["buffer"]]
        here = (run.info.experiment_id, run.data.tags.get(describe.PARENT)) == (self.experiment_id, self.parent)
        if here:
            self.run_id = str(run.info.run_id)
            self._upload = PendingUpload(
                uri=bare(str(self.client.tracking_uri)),
                experiment_id=self.experiment_id,
                run_id=self.run_id,
                name=self.name,
                started=int(run.info.start_time),
                tags=dict(tags),
                described=True,
            )
            for key, value in tags.items():  # whose it is before it is RUNNING: others may look for dead ones
                self.client.set_tag(self.run_id, key, value)
            self.client.update_run(self.run_id, status="RUNNING")
            for key in ("outcome", "reason"):
                if key in run.data.tags:
                    self.client.delete_tag(self.run_id, key)
            self._there = {(point.key, point.step) for point in points}
            self._buffer = [point for point in kept if (point.key, point.step) not in self._there]
        else:
            self._buffer = list({(point.key, point.step): point for point in [*points, *kept]}.values())
            self._there = {(point.key, point.step) for point in self._buffer}
        return here

    # -- what MLflow gets -------------------------------------------------------------------------------------------

    @property
    def _id(self) -> str:
        if self.run_id is None:
            raise RuntimeError("the run has not started")
        return self.run_id

    def _keep(self, points: Iterable[tuple[str, int, float]]) -> None:
        """Name, step and value of each.

        Infinity would be stored as 1.8e308, and NaN drawn as a gap: neither is logged, `train/diverged` tells.
        """
        now = int(time.time() * 1000)
        for name, step, value in points:
            key = describe.metric_name(name)
            if math.isfinite(value) and (key, step) not in self._there:
                self._buffer.append(Logged(key, float(value), now, step))

    def _keep_curves(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.series_name(curve, update), throughtime.series(curve))

    def _keep_lags(self, curves: Sequence[Curve], update: int | None) -> None:
        for curve in curves:
            self._keep_all(throughtime.lag_name(curve, update), throughtime.lag_series(curve.by_lag))

    def _keep_all(self, name: str, points: Iterable[tuple[int, float]]) -> None:
        self._keep((name, step, norm) for step, norm in points)

    def _flush_when_due(self) -> None:
        now = time.monotonic()
        if now < self._next and (len(self._buffer) < BATCH or self._late):
            return
        try:
            if self._late:
                self._reach()
            self._flush()
            self._next, self._late = now + FLUSH_SECONDS, False
        except Exception as error:  # a store that fails for a while ends no run of hours
            self._is_late(f"{len(self._buffer)} points are tried again", error)

    def _is_late(self, what: str, error: Exception) -> None:
        """Try again after a while what the store did not take."""
        self._next, self._late = time.monotonic() + PATIENCE_SECONDS, True
        log.info("%s fails, %s: %s", self.client.tracking_uri, what, error, exc_info=True)

    def _reach(self) -> None:
        """Ask a server that failed before whether it answers, in little time; and tell it of the run, if not done."""
        uri = str(self.client.tracking_uri)
        if self._late and uri.startswith(connection.SERVERS):
            connection.check_health(uri)
        if self.run_id is None and self._upload is not None:
            self.run_id = self._upload.begin(self.client)

    def _flush(self, tags: Sequence[RunTag] = ()) -> None:
        """Write what is kept; what was written is kept no more, so that no point is written twice.

        Args:
            tags: written with the last points: each call takes milliseconds.
        """
        while self._buffer or tags:
            some = self._buffer[: BATCH - len(tags)]
            last = len(some) == len(self._buffer)
            self.client.log_batch(self._id, metrics=metrics(some), tags=tags if last else ())
            del self._buffer[: len(some)]
            tags = () if last else tags

    def _end(self, status: str, outcome: str, reason: str) -> None:
        from mlflow.entities import RunTag

        self._flush([RunTag("outcome", outcome), RunTag("reason", escape.mlflow(reason, describe.TAG_LIMIT))])
        self.client.set_terminated(self._id, status)
        self._ended = True


def _write(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """A table as MLflow's UI shows it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))
