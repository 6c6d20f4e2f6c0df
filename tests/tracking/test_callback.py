"""How a run reaches MLflow: in few calls, whatever the store does, and never left running."""

from __future__ import annotations

from typing import Any

import pytest

from longlag.errors import UserError
from longlag.spec import load_run
from longlag.tracking.callback import MlflowCallback
from longlag.tracking.store import Store
from longlag.training import Pruned, train
from tests.tracking.curves import curve
from tests.tracking.opening import trained, values


def test_metrics_go_out_in_batches(
    store: Store, experiment: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = trained(store, experiment, tiny)
    sizes: list[int] = []
    write = store.client.log_batch

    def counted(run_id: str, metrics: Any = (), **rest: Any) -> None:
        sizes.append(len(metrics))
        write(run_id, metrics=metrics, **rest)

    monkeypatch.setattr(store.client, "log_batch", counted)
    callback = store.callback(experiment)
    callback.started(result.spec, {}, 1, {})
    sizes.clear()
    for update in range(1, 2501):
        callback.measured(update, {"train/loss": 1.0 / update})
    callback.flow(0, [curve(100)])
    callback.finished(result)
    assert sizes[:2] == [1000, 1000] and len([size for size in sizes if size]) <= 6
    assert values(store, callback.run_id, "train/loss") == [(u, 1.0 / u) for u in range(1, 2501)]


def test_a_short_run_is_told_in_six_calls(
    store: Store, experiment: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes milliseconds: the last points and what came of the run go together."""
    calls: list[str] = []

    def counted(name: str) -> Any:
        method = getattr(store.client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return method(*arguments, **named)

        return call

    for name in ("create_run", "log_batch", "log_inputs", "log_artifacts", "set_tag", "log_metric", "set_terminated"):
        monkeypatch.setattr(store.client, name, counted(name))
    trained(store, experiment, {**tiny, "probe": {"curves": True}})
    assert calls == ["create_run", "log_batch", "log_inputs", "log_artifacts", "log_batch", "set_terminated"]


def test_points_that_cannot_be_written_keep_no_failed_run_from_its_end(
    store: Store, experiment: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = store.callback(experiment)
    callback.started(load_run(tiny), {}, 1, {})
    callback.measured(1, {"train/loss": 0.5})
    write = store.client.log_batch

    def refused(run_id: str, metrics: Any = (), **rest: Any) -> None:
        if metrics:
            raise OSError("no such point")
        write(run_id, **rest)

    monkeypatch.setattr(store.client, "log_batch", refused)
    callback.failed(ValueError("mine"))
    (entry,) = store.stored_runs(experiment)
    assert (entry.status, entry.tags["reason"]) == ("FAILED", "ValueError: mine")


@pytest.mark.fault
def test_a_store_that_fails_for_a_while_ends_no_run(
    store: Store, experiment: str, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = trained(store, experiment, tiny)
    callback = store.callback(experiment)
    callback.started(result.spec, {}, 1, {})
    with monkeypatch.context() as broken:
        broken.setattr(store.client, "log_batch", lambda *a, **k: (_ for _ in ()).throw(OSError("gone")))
        for update in range(1500):
            callback.measured(update, {"train/loss": 1.0})
    callback.finished(result)
    assert len(values(store, callback.run_id, "train/loss")) == 1500


@pytest.mark.parametrize(
    ("error", "status", "outcome", "reason"),
    [
        (ValueError("of\n mine"), "FAILED", "failed", "ValueError: of mine"),
        (KeyboardInterrupt(), "KILLED", "interrupted", "KeyboardInterrupt"),
        (UserError("one sentence"), "FAILED", "failed", "one sentence"),
    ],
)
def test_a_run_that_raises_is_never_left_running(
    store: Store, tiny: dict[str, Any], error: BaseException, status: str, outcome: str, reason: str
) -> None:
    experiment = store.experiment("failures")
    callback = store.callback(experiment)
    callback.failed(error)  # before the start there is no run to end
    assert callback.run_id is None
    callback.started(load_run(tiny), {}, 1, {})
    callback.measured(1, {"train/loss": 0.5})
    callback.failed(error)
    entry = next(e for e in store.stored_runs(experiment) if e.run_id == callback.run_id)
    assert (entry.status, entry.result) == (status, None)
    assert (entry.tags["outcome"], entry.tags["reason"]) == (outcome, reason)
    assert values(store, callback.run_id, "train/loss") == [(1, 0.5)]


def test_pruned_and_interrupted_runs_are_killed_and_never_found(
    store: Store, experiment: str, tiny: dict[str, Any]
) -> None:
    class Prune(MlflowCallback):
        def evaluated(self, *told: Any) -> None:
            raise Pruned("worse than others")

    spec = load_run({**tiny, "seed": 13})
    train(spec, [Prune(store.client, experiment)])
    train(spec, [store.callback(experiment)], interrupted=lambda: True)
    entries = store.stored_runs(experiment)
    assert [entry.status for entry in entries] == ["KILLED", "KILLED"]
    assert sorted(entry.tags["outcome"] for entry in entries) == ["interrupted", "pruned"]
    assert store.find(spec.run_key) is None
