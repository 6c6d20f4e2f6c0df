"""A run on its way to a store: begun, filled and ended so that a request that is repeated leaves nothing twice.

A server may act on a request whose reply is then lost, and MLflow's client repeats such requests by itself. So a run
has a token of its own as a tag, by which it is found, and points are compared with those that the store has.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from longlag import escape
from longlag.tracking import artifacts, connection, describe
from longlag.tracking.reading import search

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run, RunTag

BATCH, PARAMETERS = 1000, 100  # as many as MLflow takes at once
TOKEN = "longlag.upload"
"""Tag of a run: found by it, whoever made it and whether or not the reply arrived."""
OUTCOME = ("outcome", "reason")
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""Codes of MLflow's errors for a run that is not there."""

CONFLICT = "BAD_REQUEST"
"""Code of MLflow's errors for a row that is there already, among others."""


class Logged(NamedTuple):
    """A point on its way to the store: what MLflow's `Metric` is made of, at a tenth of its price.

    Args:
        key: the series.
        value: the number.
        timestamp: when it was measured, in ms since 1970.
        step: the update, the step t or the lag.
    """

    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class Upload:
    """A run, or the rest of one, that is to be told to a store.

    Args:
        uri: the store, without user and password.
        experiment_id: where the run belongs.
        name: of the run.
        started: when it began, in ms since 1970.
        tags: of the run; its token is added.
        params: of the run.
        inputs: of the run: the fields of MLflow's datasets, and which split each is.
        run_id: of the run in the store; None until it is known to be there.
        continues: of a run that an earlier process began; None for none.
        tried: the run may be there without its id being known.
        described: parameters and inputs are there.
        status: MLflow's, at its end; empty before.
        ended: when, in ms.
        last_tags: outcome and reason.
        attempts: deliveries that have failed.
        points: SHA-256 of the file with its points, once it has ended.

    Attributes:
        there: series and step of the points that the run had when it was looked at; None when that is not known.
        unsure: series of which points may have arrived since then, as the request for them failed.
        carried: points of an earlier run that this one goes on from.
    """

    uri: str
    experiment_id: str
    name: str | None
    started: int
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    inputs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    run_id: str | None = None
    continues: str | None = None
    tried: bool = False
    described: bool = False
    status: str = ""
    ended: int = 0
    last_tags: dict[str, str] = field(default_factory=dict)
    attempts: int = 0
    points: str = ""

    def __post_init__(self) -> None:
        self.tags.setdefault(TOKEN, uuid.uuid4().hex)
        self.there: set[tuple[str, int]] | None = None
        self.unsure: set[str] = set()
        self.carried: list[Logged] = []

    @property
    def token(self) -> str:
        return self.tags[TOKEN]

    def begin(self, client: MlflowClient) -> str:
        """Be sure that the run is there, and of the points that it has; returns its id. Nothing that is done is redone.

        A run that was begun elsewhere, in another study, stays there: a new one is made, with the points so far.
        """
        if self.run_id is None:
            self._find(client)
        if self.run_id is None:
            self.tried = True
            made = client.create_run(self.experiment_id, start_time=self.started, tags=self.tags, run_name=self.name)
            self.run_id, self.there = str(made.info.run_id), set()
        if not self.described:
            self._describe(client, self.run_id)
        if self.there is None or self.unsure:
            found = points(client, client.get_run(self.run_id), None if self.there is None else self.unsure)
            self.there = (self.there or set()) | {(point.key, point.step) for point in found}
            self.unsure = set()
        if self.carried:
            self.send(client, self.carried)
            self.there |= {(point.key, point.step) for point in self.carried}
            self.carried = []
        return self.run_id

    def send(self, client: MlflowClient, logged: Iterable[Logged], tags: Sequence[RunTag] = ()) -> None:
        """Write points that the run does not have yet.

        Args:
            client: of the store.
            logged: the points.
            tags: written with the last of them: each call takes milliseconds.
        """
        there = self.there or set()
        left = [point for point in logged if (point.key, point.step) not in there]
        try:
            while left or tags:
                some = left[: BATCH - len(tags)]
                last = len(some) == len(left)
                client.log_batch(self._id, metrics=_metrics(some), tags=tags if last else ())
                left, tags = left[len(some) :], () if last else tags
        except BaseException:
            self.unsure |= {point.key for point in left}
            raise

    def end(self, client: MlflowClient, logged: Iterable[Logged], files: Path | None) -> None:
        """Write the last points and the files of a folder, and end the run."""
        from mlflow.entities import RunTag

        if files is not None:
            artifacts.log(client, self._id, files)
        self.send(client, logged, [RunTag(key, value) for key, value in self.last_tags.items()])
        client.set_terminated(self._id, self.status, self.ended)
        delete_doubles(client, self.experiment_id, TOKEN, self.token, self._id)

    def set_end(self, status: str, tags: Mapping[str, str], ended: int | None = None) -> None:
        """The run has ended, now or at a time in ms: with this status of MLflow's, its outcome and the reason."""
        self.ended = int(time.time() * 1000) if ended is None else ended
        self.last_tags = {key: escape.mlflow(value, describe.TAG_LIMIT) for key, value in tags.items()}
        self.status = status

    @property
    def _id(self) -> str:
        if self.run_id is None:
            raise RuntimeError("the run has not begun")
        return self.run_id

    def _find(self, client: MlflowClient) -> None:
        """Take up the run that an earlier process, or a request without a reply, has made."""
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        by_token = self.continues is None
        if by_token and self.tried:
            self.continues = next(
                (run.info.run_id for run in _with(client, self.experiment_id, TOKEN, self.token)), None
            )
        if self.continues is None:
            return
        try:
            run = client.get_run(self.continues)
        except MlflowException as error:
            if error.error_code not in MISSING:
                raise
            run = None  # somebody deleted it for good, or it is in another store
        if run is None or run.info.lifecycle_stage == "deleted":
            self.continues = None
            return
        logged = list(points(client, run))
        if not self._belongs(run):
            self.carried, self.continues = list({(each.key, each.step): each for each in logged}.values()), None
            self.tags = {**self.tags, TOKEN: uuid.uuid4().hex}  # the other one keeps its own
            return
        # whose it is before it is RUNNING: others may look for dead ones
        client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in self.tags.items()])
        client.update_run(run.info.run_id, status="RUNNING")
        for key in OUTCOME:
            if key in run.data.tags:
                client.delete_tag(run.info.run_id, key)
        self.described = self.described or not by_token
        self.run_id, self.there = str(run.info.run_id), {(each.key, each.step) for each in logged}

    def _belongs(self, run: Run) -> bool:
        """Whether a run is where this one is to be."""
        return self.place == (run.info.experiment_id, run.data.tags.get(describe.PARENT))

    @property
    def place(self) -> tuple[str, str | None]:
        """Its experiment, and the run above it."""
        return self.experiment_id, self.tags.get(describe.PARENT)

    def _describe(self, client: MlflowClient, run_id: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        params = [Param(key, value) for key, value in self.params.items()]
        for start in range(0, len(params), PARAMETERS):
            client.log_batch(run_id, params=params[start : start + PARAMETERS])
        inputs = [
            DatasetInput(dataset=Dataset(**fields), tags=[InputTag("mlflow.data.context", split)])
            for split, fields in self.inputs
        ]
        log_inputs(client, run_id, inputs)
        self.described = True


def log_inputs(client: MlflowClient, run_id: str, inputs: Sequence[DatasetInput]) -> None:
    """Log datasets. MLflow refuses one that another process logs for the first time at the same moment."""
    from mlflow.exceptions import MlflowException

    for left in reversed(range(len(inputs) + 1)):  # each refusal means that at least one more is there
        try:
            return client.log_inputs(run_id, list(inputs))
        except MlflowException as error:
            if not left or error.error_code != CONFLICT:
                raise


def points(client: MlflowClient, run: Run, series: Set[str] | None = None) -> Iterator[Logged]:
    """The points of a run: all of them, or those of some series."""
    for key in run.data.metrics if series is None else run.data.metrics.keys() & series:
        for each in client.get_metric_history(run.info.run_id, key):
            yield Logged(each.key, each.value, each.timestamp, each.step)


def delete_doubles(client: MlflowClient, experiment_id: str, tag: str, value: str, run_id: str) -> None:
    """Delete the empty runs that requests to a server without a reply have made beside `run_id`, with the same tag."""
    if not str(client.tracking_uri).startswith(connection.SERVERS):
        return
    for run in _with(client, experiment_id, tag, value):
        if run.info.run_id != run_id:
            client.delete_run(run.info.run_id)


def _with(client: MlflowClient, experiment_id: str, tag: str, value: str) -> list[Run]:
    return list(search(client, [experiment_id], f"tags.`{tag}` = '{value}'"))


def _metrics(logged: Iterable[Logged]) -> list[Metric]:
    """As MLflow takes them."""
    from mlflow.entities import Metric

    return [Metric(*point) for point in logged]
