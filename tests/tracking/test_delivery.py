"""A server that is slow, stops, or loses replies: training never waits for it, and no run or point is there twice."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from longlag.spec import load_run
from longlag.tracking import background, connection, describe, study_run
from longlag.tracking.home import Home
from longlag.tracking.pending import Pending
from longlag.tracking.spool import Spool
from longlag.tracking.store import Store
from longlag.tracking.upload import BATCH, Logged, Upload
from longlag.training import RunResult, train
from longlag.training.checkpoint import Checkpoints
from tests.conftest import TINY
from tests.servers.tracker import Tracker
from tests.tracking import test_resume
from tests.tracking.opening import points
from tests.tracking.test_resume import Killed

Points = dict[str, list[tuple[int, float]]]
Usual = tuple[RunResult, Points]
TIMES = {"wall_seconds", "cpu_seconds"}
WAIT = 60  # a guard: nothing waits for so long
pytestmark = pytest.mark.fault


@pytest.fixture
def store(tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(background, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(background, "LEAST_SECONDS", WAIT)
    monkeypatch.setattr(connection, "SLOW_SECONDS", WAIT)
    return Store.open(Home.open(tmp_path / "home"), tracker.url)


@pytest.fixture
def experiment(store: Store, tmp_path: Path) -> str:
    return store.experiment(tmp_path.name)


@pytest.fixture
def closed(tracker: Tracker) -> Any:
    """Call it with a request: from then on the server does not go on with it until the event that it gives is set."""
    opened = threading.Event()

    def close(call: str) -> threading.Event:
        opened.clear()
        tracker.before = lambda asked: opened.wait(WAIT) if asked == call else None
        return opened

    yield close
    opened.set()


def points_of(store: Store, experiment: str) -> Points:
    """The points of the only run of an experiment, which has finished; each of them once."""
    (entry,) = store.stored_runs(experiment)
    assert entry.status == "FINISHED" and entry.result is not None
    found = points(store, entry.run_id)
    for name, series in found.items():
        assert max(Counter(step for step, _ in series).values()) == 1, name
    return {name: series for name, series in found.items() if name not in TIMES}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Usual:
    """What the run gives, and the points that it leaves in a store that is a file."""
    local = Store.open(Home.open(tmp_path_factory.mktemp("usual")))
    experiment = local.experiment("usual")
    result = train(load_run(TINY), [local.callback(experiment)])
    return result, points_of(local, experiment)


@pytest.mark.parametrize("call", ["runs/create", "runs/log-batch", "runs/log-inputs"])
def test_training_does_not_wait_for_a_server_that_stops(
    call: str, closed: Any, store: Store, experiment: str, usual: Usual,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(background, "LEAST_SECONDS", 0)
    monkeypatch.setattr(background, "SHARE", 0)
    opened = closed(call)
    result = train(load_run(TINY), [store.callback(experiment, name="mine")])
    assert result.outcome == "budget"
    (folder,) = Spool(store.home.spool).pending_uploads()
    assert caplog.messages == [
        f"{store.uri} does not take run mine now, which is kept in {folder} and delivered later: not done within 0 s"
    ]
    opened.set()
    store.deliver(wait=True)
    expected, logged = usual
    assert result.model_dump(exclude=TIMES) == expected.model_dump(exclude=TIMES), "delivery changes no number"
    assert points_of(store, experiment) == logged and not folder.exists()


def test_points_that_a_server_does_not_take_are_on_the_disk_and_in_no_memory(
    closed: Any, store: Store, experiment: str, usual: Usual
) -> None:
    result, _ = usual
    callback = store.callback(experiment)
    callback.started(result.spec, {}, 1, {})
    opened = closed("runs/log-batch")
    for update in range(1, 3 * BATCH + 1):
        callback.measured(update, {"train/loss": 1.0 / update})
    (folder,) = Spool(store.home.spool).unfinished()
    assert (folder / "points.jsonl").read_bytes().count(b"\n") == 3 * BATCH
    opened.set()
    callback.finished(result)
    store.deliver(wait=True)
    assert points_of(store, experiment)["train/loss"] == [(u, 1.0 / u) for u in range(1, 3 * BATCH + 1)]
    assert list(store.home.spool.iterdir()) == []


def test_a_slow_server_is_used_and_said_to_be_slow_once(
    store: Store, tracker: Tracker, experiment: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(connection, "SLOW_SECONDS", 0)
    connection._say_slow.cache_clear()
    again = Store.open(store.home, tracker.url)
    train(load_run(TINY), [again.callback(experiment)])
    assert points_of(again, experiment)
    assert caplog.messages == [f"the tracking server {tracker.url} is slow; training does not wait for it"]


@pytest.mark.parametrize(
    ("call", "retries"),
    [
        *[(call, 0) for call in ("runs/create", "runs/log-batch", "runs/log-inputs", "artifacts", "runs/update")],
        *[(call, 1) for call in ("runs/create", "runs/log-batch")],  # which MLflow's client repeats by itself
    ],
)
def test_a_reply_that_is_lost_leaves_no_run_and_no_point_twice(
    call: str, retries: int, tracker: Tracker, store: Store, experiment: str, usual: Usual,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The server has acted on the request, and the connection ends before it says so."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(retries))
    lost: list[str] = []

    def once(asked: str) -> bool:
        """Whether it is the second such request: the first of a batch has the parameters, the second points."""
        lost.extend([asked] * (call in asked))
        return call in asked and len(lost) == (2 if call == "runs/log-batch" else 1)

    tracker.lost = once
    train(load_run(TINY), [store.callback(experiment)])
    store.deliver(wait=True)
    assert lost and points_of(store, experiment) == usual[1]


def test_the_studys_own_run_is_there_once_and_its_numbers_too(
    tracker: Tracker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    lost: list[str] = []

    def once(asked: str) -> bool:
        lost.append(asked)
        return asked.endswith("/create") and lost.count(asked) == 1

    tracker.lost = once
    tags = {describe.STUDY: "s", describe.IDENTITY: "own"}
    experiment = store.experiment("own run")
    for numbers in ({"trials/complete": 1.0}, {"trials/complete": 2.0}, {"trials/complete": 2.0}):
        parent = study_run.begin(store, experiment, "s", tags, {"sampler": "grid"})
        study_run.end(store, parent, "FINISHED", numbers)
    assert lost.count("experiments/create") == lost.count("runs/create") == 2
    assert [run.info.run_id for run in store.runs([experiment])] == [parent]
    assert points(store, parent) == {"trials/complete": [(0, 1.0), (0, 2.0)]}


def test_a_server_that_is_slow_with_what_it_has_missed_is_not_waited_for(
    closed: Any, store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pending = Pending.begin(store.home.spool, Upload(store.uri, experiment, "missed", 1, {}))
    pending.add([Logged("loss", 0.5, 1, 1)])
    pending.end(None, "FINISHED", {})
    pending.release()
    monkeypatch.setattr("longlag.tracking.store.DELIVER_SECONDS", 0.01)
    opened = closed("runs/create")
    again = Store.open(store.home, store.address)
    assert caplog.messages == [f"{store.uri} is slow: runs in {store.home.spool} are delivered to it meanwhile"]
    opened.set()
    again.deliver(wait=True)
    (run,) = again.runs([experiment])
    assert points(again, run.info.run_id) == {"loss": [(1, 0.5)]} and not pending.folder.exists()


def test_only_the_series_of_a_request_that_failed_are_looked_at_again(
    tracker: Tracker, store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run has hundreds of series, and each is a call."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    upload = Upload(store.uri, experiment, "run", 1, {})
    run_id = upload.begin(store.client)
    upload.send(store.client, [Logged(name, 1.0, 1, 1) for name in ("loss", "norm", "rate")])
    tracker.lost = lambda asked: asked == "runs/log-batch"
    later = [Logged("loss", 2.0, 2, 2)]
    with pytest.raises(MlflowException):
        upload.send(store.client, later)
    tracker.reset()
    upload.begin(store.client)
    upload.send(store.client, [*later, Logged("norm", 2.0, 2, 2)])
    assert tracker.calls.count("metrics/get-history") == 1
    assert points(store, run_id) == {
        "loss": [(1, 1.0), (2, 2.0)],
        "norm": [(1, 1.0), (2, 2.0)],
        "rate": [(1, 1.0)],
    }


def test_a_run_whose_end_cannot_be_written_down_leaves_no_thread(
    store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    callback = Recorder(store.client, experiment, spool=Spool(store.home.spool))

    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Pending, "end", full)
    with pytest.raises(OSError, match="No space left") as raised:
        train(load_run(TINY), [callback])
    callback.failed(raised.value)
    callback.end()
    assert "cannot be marked as FAILED: [Errno 28] No space left on device" in caplog.text


def test_a_server_that_never_says_whether_it_has_a_run_is_not_waited_for(
    closed: Any, store: Store, experiment: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("longlag.tracking.store.FIND_SECONDS", 0.01)
    closed("runs/search")
    assert store.find("0" * 64) is None
    assert caplog.messages == [f"{store.uri} cannot be asked for the run, which is trained: no answer within 0 s"]


# -- a run that is taken up again -------------------------------------------------------------------------------------


class Recorder(test_resume.Recorder):
    """One whose thread ends too when it dies, and whose locks are given back."""

    def deliver(self) -> None:
        """Wait until all points so far are there."""
        assert isinstance(self._delivery, background.Background)
        with self._delivery._changed:
            self._delivery._waiting = BATCH
            self._delivery._changed.notify()
        until = time.monotonic() + WAIT
        while self._delivery._offset < self._delivery.pending.sync()[0]:
            assert time.monotonic() < until
            time.sleep(0.01)

    def die(self) -> None:
        assert isinstance(self._delivery, background.Background)
        self._delivery._left = True
        self.end()

    def end(self) -> None:
        assert isinstance(self._delivery, background.Background)
        with self._delivery._changed:
            self._delivery._changed.notify()
        self._delivery._thread.join(WAIT)
        assert not self._delivery._thread.is_alive()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same study", "another study"])
@pytest.mark.parametrize("call", ["runs/create", "runs/log-batch", ""], ids=["no run yet", "no point yet", "all there"])
def test_a_run_that_is_killed_while_its_server_stands_still_is_continued_with_every_point(
    call: str,
    elsewhere: bool,
    closed: Any,
    store: Store,
    experiment: str,
    usual: Usual,
    tmp_path: Path,
) -> None:
    spec, saved = load_run(TINY), Checkpoints(tmp_path / "run", 0)
    first = Recorder(store.client, experiment, spool=Spool(store.home.spool))
    first.at = 4
    opened = closed(call)
    with pytest.raises(Killed):
        train(spec, [first], checkpoints=saved)
    opened.set()
    if call == "":  # also points of after the checkpoint, which are measured again
        first.deliver()
    first.die()
    place = store.experiment(f"another {tmp_path.name}") if elsewhere else experiment
    second = Recorder(store.client, place, spool=Spool(store.home.spool))
    result = train(spec, [second], checkpoints=saved)
    store.deliver(wait=True)
    expected, logged = usual
    assert result.model_dump(exclude=TIMES) == expected.model_dump(exclude=TIMES)
    assert (second.run_id == first.run_id) != elsewhere
    assert points_of(store, place) == logged
    assert list(store.home.spool.iterdir()) == []


def test_a_run_that_is_stopped_and_then_delivered_is_continued_in_the_same_run(
    closed: Any,
    store: Store,
    experiment: str,
    usual: Usual,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, saved, spool = load_run(TINY), Checkpoints(tmp_path / "run", 0), Spool(store.home.spool)
    first, second = (Recorder(store.client, experiment, spool=spool) for _ in range(2))
    opened = closed("runs/create")
    with monkeypatch.context() as impatient:
        impatient.setattr(background, "LEAST_SECONDS", 0)
        assert train(spec, [first], checkpoints=saved, interrupted=lambda: True).outcome == "interrupted"
    opened.set()
    first.end()
    assert [entry.status for entry in store.stored_runs(experiment)] == ["KILLED"] and not spool.pending_uploads()
    train(spec, [second], checkpoints=saved)
    assert second.run_id == first.run_id and points_of(store, experiment) == usual[1]


def test_points_of_a_damaged_upload_are_given_up_with_a_line_and_the_run_goes_on(
    closed: Any, store: Store, experiment: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec, saved = load_run(TINY), Checkpoints(tmp_path / "run", 0)
    first = Recorder(store.client, experiment, spool=Spool(store.home.spool))
    first.at = 4
    opened = closed("runs/log-batch")
    with pytest.raises(Killed):
        train(spec, [first], checkpoints=saved)
    opened.set()
    first.die()
    (folder,) = Spool(store.home.spool).unfinished()
    data = (folder / "points.jsonl").read_bytes()
    (folder / "points.jsonl").write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
    train(spec, [Recorder(store.client, experiment, spool=Spool(store.home.spool))], checkpoints=saved)
    lost = "that were not delivered are lost: the checksum of its points differs"
    assert caplog.messages == [f"points in {folder} {lost}"]
    (entry,) = store.stored_runs(experiment)
    assert entry.status == "FINISHED"
