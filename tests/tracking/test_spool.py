"""A tracking server that goes away: training goes on, and what it missed is delivered later, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from longlag.spec import load_run
from longlag.tracking.callback import MlflowListener
from longlag.tracking.home import Home
from longlag.tracking.spool import Spool
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


@pytest.mark.parametrize("broken", [METHODS, METHODS[1:], METHODS[3:], METHODS[4:]])
def test_a_run_that_its_server_missed_is_delivered_once(
    broken: tuple[str, ...], store: Store, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = store.experiment(f"missed-{len(broken)}")
    spec, spool = load_run(tiny), Spool(tmp_path / "spool")
    callback = MlflowListener(store.client, experiment, spool=spool)
    with monkeypatch.context() as away:
        for method in broken:
            away.setattr(store.client, method, gone)
        result = train(spec, [callback])
        assert spool.deliver(store.client, store.uri) == 0  # not yet
        assert len(spool.pending_uploads()) == 1
    assert spool.deliver(store.client, "http://elsewhere") == 0
    assert spool.deliver(store.client, store.uri) == 1
    assert spool.deliver(store.client, store.uri) == 0
    finished = [entry for entry in store.recorded(experiment) if entry.status == "FINISHED"]
    assert [entry.result for entry in finished] == [result]
    usual = MlflowListener(store.client, store.experiment("usual"))
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
        train(load_run(tiny), [MlflowListener(store.client, store.experiment("none"))])
