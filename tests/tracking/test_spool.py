"""A tracking server that goes away: training goes on, and what it missed is delivered later, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.spec import load_run
from harness.tracking.home import Home
from harness.tracking.listener import MlflowListener
from harness.tracking.spool import Spool
from harness.tracking.store import Store
from harness.training import train
from harness.training.checkpoint import Checkpoints

METHODS = ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(Home.open(tmp_path_factory.mktemp("spooled") / "home"))


class Gone(Exception):
    pass


def gone(*arguments: Any, **named: Any) -> None:
    raise Gone


def points(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    metrics = store.client.get_run(run_id).data.metrics
    return {key: [(m.step, m.value) for m in store.client.get_metric_history(run_id, key)] for key in metrics}


@pytest.mark.parametrize("broken", [METHODS, METHODS[1:], METHODS[3:], METHODS[4:]])
def test_a_run_that_its_server_missed_is_delivered_once(
    broken: tuple[str, ...], store: Store, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = store.experiment(f"missed-{len(broken)}")
    spec, spool = load_run(tiny), Spool(tmp_path / "spool")
    listener = MlflowListener(store.client, experiment, spool=spool)
    with monkeypatch.context() as away:
        for method in broken:
            away.setattr(store.client, method, gone)
        result = train(spec, [listener])
        assert spool.deliver(store.client, store.uri) == 0  # not yet
        assert len(spool.parcels()) == 1
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


class Killed(BaseException):
    pass


class Dies(MlflowListener):
    def measured(self, update: int, values: Any) -> None:
        super().measured(update, values)
        if update == 3:
            raise Killed


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_that_goes_on_from_a_checkpoint_has_every_point_once(
    elsewhere: bool, store: Store, tiny: dict[str, Any], tmp_path: Path
) -> None:
    tiny["probe"] = {"log_every": 1, "curves": True, "batch_size": 4}
    spec, saved = load_run(tiny), Checkpoints(tmp_path / "run", 0)
    experiment = store.experiment(f"killed-{elsewhere}")
    first = Dies(store.client, experiment)
    with pytest.raises(Killed):
        train(spec, [first], checkpoints=saved)
    place = store.experiment("another study") if elsewhere else experiment

    class Resumed(Dies):  # its state is found under its class's name
        def measured(self, update: int, values: Any) -> None:
            MlflowListener.measured(self, update, values)

    Resumed.__name__ = "Dies"
    second = Resumed(store.client, place)
    result = train(spec, [second], checkpoints=saved)
    assert (second.run_id == first.run_id) != elsewhere
    whole = MlflowListener(store.client, store.experiment(f"whole-{elsewhere}"))
    undisturbed = train(spec, [whole])
    assert result.test == undisturbed.test
    assert second.run_id is not None and whole.run_id is not None
    got, expected = points(store, second.run_id), points(store, whole.run_id)
    for key in set(expected) - {"wall_seconds", "cpu_seconds"}:
        assert sorted(got[key]) == sorted(expected[key]), key
    assert store.client.get_run(second.run_id).info.status == "FINISHED"
