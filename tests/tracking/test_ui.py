"""The UI's addresses, its server, and a store behind a server."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from longlag.errors import UserError
from longlag.spec import load_run
from longlag.tracking import study_run, views
from longlag.tracking.copy import adopt
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.tracking.ui import address, curve_address, serve
from longlag.training import train
from tests.servers.ports import free_port
from tests.servers.ui import ui


def query(page: str) -> dict[str, str]:
    """What follows the page in the part after the ``#``, where MLflow's UI looks for it."""
    return {key: value for key, (value,) in parse_qs(urlsplit(urlsplit(page).fragment).query).items()}


def test_every_address_asks_for_the_pages_of_model_training() -> None:
    server = "http://127.0.0.1:5000"
    for page in (address(server), address(server, "3"), curve_address(server, "3", ["a"], "m/x")):
        assert query(page)["workflowType"] == "machine_learning"
    assert query(address(server, "3"))["compareRunsMode"] == "CHART"
    assert query(address(server, "3", "table", view=False))["searchFilter"] == "tags.run_key != ''"
    overlay = query(curve_address(server, "3", ["a", "b"], "gradient_through_time/layer1.h/last"))
    assert overlay["runs"] == '["a", "b"]' and overlay["y_axis_scale"] == "log"


def test_the_view_opens_on_score_gradient_norm_and_curve_side_by_side() -> None:
    through = {f"gradient_through_time/layer1.{s}/{w}" for s in "ch" for w in ("update_000000", "last")}
    by_lag = {f"gradient_by_lag/layer1.{s}/{w}" for s in "ch" for w in ("update_000000", "last")}
    learning = {"train/loss", "validation/score", "gradient_norm/global"}
    for metrics, curve in ((through, "gradient_through_time"), (through | by_lag, "gradient_by_lag")):
        view = views.view({*metrics, *learning})
        charts, sections = view["compareRunCharts"], [each["uuid"] for each in view["compareRunSections"]]
        first = [chart["metricKey"] for chart in charts if chart["metricSectionId"] == sections[0]]
        assert first == ["validation/score", "gradient_norm/global", f"{curve}/layer1.h/last"]
        names = [chart["metricKey"] for chart in charts]
        assert sorted(names) == sorted({*metrics, *learning}), "every chart once"
        assert {chart["metricSectionId"] for chart in charts} == set(sections)
        shown = [each["display"] for each in view["compareRunSections"]]
        assert shown == [True] + [False] * (len(sections) - 1), "no other chart is loaded before these"
    assert view["runsHiddenMode"] == f"FIRST_{views.RUNS}_RUNS", "points of what a chart shows are all that is loaded"
    assert names[3:5] == ["gradient_through_time/layer1.h/last", "gradient_through_time/layer1.c/last"]


def test_a_port_in_use_is_named_with_another(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    Store.open(home)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is in use; take another with --port {port + 1}"):
            serve(home, port=port)


def test_an_empty_home_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing is recorded at .* yet"):
        serve(Home.open(tmp_path))
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_study_behind_a_server(tmp_path: Path, tiny: dict[str, Any]) -> None:
    """Everything that the harness asks of a store, asked of a server."""
    local = Store.open(Home.open(tmp_path / "server"))
    local.experiment("study")
    with ui(tmp_path / "server", "study", free_port()) as page:
        server = page.split("/#")[0]
        assert query(page)["viewStateShareKey"] == views.KEY
        store = Store.open(Home.open(tmp_path / "client"), server)
        experiment, other = store.experiment("study"), store.experiment("other")
        parent = study_run.begin(store, experiment, "study", {"longlag.study_identity": "x"}, {"space.cell": "[]"})
        result = train(load_run({**tiny, "probe": {"curves": True}}), [store.callback(experiment, parent)])
        found = store.find(result.run_key)
        assert found is not None and found.result == result
        copy = adopt(store, found, other, None, {})
        assert [(entry.run_id, entry.result) for entry in store.stored_runs(other)] == [(copy, result)]
        study_run.end(store, parent, "FINISHED", {})
        with pytest.raises(UserError, match="did you mean 'study'"):
            store.experiment_id("studdy")
    assert not (tmp_path / "client" / "mlflow.db").exists()
    found = local.find(result.run_key)
    assert found is not None and found.result == result
