"""A tracking server that goes away: training goes on, and what it missed is delivered later, once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from longlag.spec import load_run
from longlag.tracking import spool as spools
from longlag.tracking.callback import MlflowCallback
from longlag.tracking.home import Home
from longlag.tracking.spool import ATTEMPTS, Spool
from longlag.tracking.store import Store
from longlag.training import train
from tests.tracking.opening import points

METHODS = ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(Home.open(tmp_path_factory.mktemp("spooled") / "home"))


class Gone(Exception):
    pass


def gone(*arguments: Any, **named: Any) -> None:
    raise Gone


@pytest.mark.fault
@pytest.mark.parametrize("broken", [METHODS, METHODS[1:], METHODS[3:], METHODS[4:]])
def test_a_run_that_its_server_missed_is_delivered_once(
    broken: tuple[str, ...], store: Store, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = store.experiment(f"missed-{len(broken)}")
    spec, spool = load_run(tiny), Spool(tmp_path / "spool")
    callback = MlflowCallback(store.client, experiment, spool=spool)
    with monkeypatch.context() as away:
        for method in broken:
            away.setattr(store.client, method, gone)
        result = train(spec, [callback])
        assert spool.deliver(store.client, store.uri) == 0  # not yet
        assert len(spool.pending_uploads()) == 1
    assert spool.deliver(store.client, "http://elsewhere") == 0
    assert spool.deliver(store.client, store.uri) == 1
    assert spool.deliver(store.client, store.uri) == 0
    finished = [entry for entry in store.stored_runs(experiment) if entry.status == "FINISHED"]
    assert [entry.result for entry in finished] == [result]
    usual = MlflowCallback(store.client, store.experiment("usual"))
    train(spec, [usual])
    assert usual.run_id is not None
    delivered, expected = points(store, finished[0].run_id), points(store, usual.run_id)
    times = ("wall_seconds", "cpu_seconds")
    assert {k: v for k, v in delivered.items() if k not in times} == {
        k: v for k, v in expected.items() if k not in times
    }
    run = store.client.get_run(finished[0].run_id)
    assert len(run.inputs.dataset_inputs) == 2
    assert run.data.params == store.client.get_run(usual.run_id).data.params


def test_without_a_spool_a_store_that_fails_is_an_error(
    store: Store, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.client, "create_run", gone)
    with pytest.raises(Gone):
        train(load_run(tiny), [MlflowCallback(store.client, store.experiment("none"))])


# -- an upload that fails while the server answers --------------------------------------------------------------------


@pytest.fixture
def pending(store: Store, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    """Two runs that their server missed; it refuses the first one's files for ever."""
    spool = Spool(tmp_path / "spool")
    with monkeypatch.context() as away:
        away.setattr(store.client, "log_artifacts", gone)
        for seed in (0, 1):
            callback = MlflowCallback(store.client, store.experiment(tmp_path.name), spool=spool)
            train(load_run({**tiny, "seed": seed}), [callback])
    first, _ = spool.pending_uploads()
    before = store.client.log_artifacts

    def refuses(run_id: str, folder: str) -> None:
        if Path(folder).parent.name == first.name:
            raise Gone("no such column")
        before(run_id, folder)

    monkeypatch.setattr(store.client, "log_artifacts", refuses)
    return spool


def finished(store: Store, tmp_path: Path) -> list[int]:
    entries = store.stored_runs(store.experiment(tmp_path.name))
    return [entry.result.spec.seed for entry in entries if entry.status == "FINISHED" and entry.result is not None]


@pytest.mark.fault
def test_an_upload_that_fails_does_not_hold_up_the_next_and_is_set_aside_with_a_line_that_says_so(
    pending: Spool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = pending.pending_uploads()
    assert pending.deliver(store.client, store.uri) == 1
    assert finished(store, tmp_path) == [1]
    assert pending.pending_uploads() == [first] and "set aside" not in caplog.text
    for _ in range(ATTEMPTS - 1):
        assert pending.deliver(store.client, store.uri) == 0
    assert pending.pending_uploads() == [] and [path.name for path in pending.set_aside()] == [first.name]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(pending.set_aside()[0]) in line and "no such column" in line and "longlag doctor --repair" in line
    assert pending.deliver(store.client, store.uri) == 0

    monkeypatch.undo()  # the server has been repaired
    assert pending.retry() == 1 and pending.set_aside() == []
    assert pending.deliver(store.client, store.uri) == 1
    assert sorted(finished(store, tmp_path)) == [0, 1]
    runs = store.stored_runs(store.experiment(tmp_path.name))
    assert len(runs) == 2, "no attempt left a run of its own"


def test_a_server_that_is_gone_costs_no_attempt(pending: Spool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_answers", lambda uri: False)
    for _ in range(2 * ATTEMPTS):
        assert pending.deliver(store.client, store.uri) == 0
    assert len(pending.pending_uploads()) == 2 and pending.set_aside() == []


@pytest.mark.fault
def test_a_damaged_upload_is_set_aside_at_once(pending: Spool, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = pending.pending_uploads()
    (first / "upload.json").write_text('{"uri": ')
    assert pending.deliver(store.client, store.uri) == 1
    assert [path.name for path in pending.set_aside()] == [first.name]
    assert "is set aside" in caplog.text
