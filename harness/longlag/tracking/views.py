"""The page that a study opens on in MLflow's UI: its charts, as a saved view.

MLflow does not document the format: it is written as read in MLflow 3.17.2, and this is the only file that knows it.
tests/tracking/test_mlflow_private.py fails when the format moves. Where a view fails the UI shows its own charts.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING, Any

from longlag.log import log
from longlag.probes.flow import by_layer
from longlag.tracking import throughtime

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY = "longlag"
TAG = f"mlflow.sharedViewState.{KEY}"
FILTER = "tags.run_key != ''"  # every run but the study's own
RUNS = 10
FLOW = ("horizon", "log10_ratio", "training_horizon", "training_log10_ratio", "lag_horizon", "lag_log10_ratio")
OPEN = 1  # sections that are shown open: charts in sight load together, and the first ones are to be there soon


def save(client: MlflowClient, experiment_id: str) -> bool:
    """Write the view of a study as it stands now; says whether that worked."""
    from mlflow.exceptions import MlflowException

    try:
        runs = client.search_runs([experiment_id], FILTER, max_results=100)
        names = {name for run in runs for name in run.data.metrics}
        now = int(time.time() * 1000)
        state = "deflate;" + base64.b64encode(zlib.compress(json.dumps(view(names)).encode())).decode()
        value = json.dumps({"name": "longlag", "createdAt": now, "updatedAt": now, "state": state})
        client.set_experiment_tag(experiment_id, TAG, value)
    except MlflowException as error:
        log.info("the charts of experiment %s cannot be saved: %s", experiment_id, error, exc_info=True)
        return False
    return True


def view(metrics: set[str]) -> dict[str, Any]:
    """The charts that are worth a first look, of those there are metrics for."""
    ordered = sorted(metrics, key=by_layer)
    outputs_first = sorted((n for n in metrics if n.startswith(f"{throughtime.SECTION}/")), key=_outputs_first)
    last = [n for n in outputs_first if n.endswith(f"/{throughtime.LAST}")]
    others = [n for n in sorted(outputs_first, key=by_layer) if n not in last]
    by_lag = sorted((n for n in metrics if n.startswith(f"{throughtime.LAG_SECTION}/")), key=_outputs_first)
    reach = [*(n for n in by_lag if n.endswith(f"/{throughtime.LAST}")), *last][:1]
    first = [n for n in ("validation/score", "gradient_norm/global", *reach) if n in metrics]
    sections: dict[str, list[tuple[str, str]]] = {
        "Who learns, and how far the gradient reaches": [(n, "log") for n in first],
        "Gradient norm through time (over the step t), last evaluation": [(n, "log") for n in last],
        "Gradient norm of the loss at one step, over the lag k": [(n, "log") for n in by_lag],
        "Training loss": [(n, "log") for n in ("train/loss",) if n in metrics],
        "Gradient flow over training": [
            (f"gradient_flow/{n}", "linear") for n in FLOW if f"gradient_flow/{n}" in metrics
        ],
        "Gradient norm through time at earlier updates": [(n, "log") for n in others],
        "Quantiles over the examples, over the lag, last evaluation": [
            (n, "log") for n in ordered if n.startswith(f"{throughtime.QUANTILE_SECTION}/")
        ],
        "Gates, memory and states": [
            (n, "linear") for n in ordered if n.split("/")[0] in ("gates", "memory", "states")
        ],
        "Jacobian of one step": [(n, "linear") for n in ordered if n.split("/")[0] in ("jacobian", "lyapunov")],
        "Size of an update over the weights": [(n, "log") for n in ordered if n.startswith("update_ratio/")],
    }
    charts: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for number, (title, wanted) in enumerate(sections.items()):
        lines = [line for line in wanted if not number or line[0] not in first]  # each chart once
        if lines:
            shown.append(_section(f"longlag-section-{number}", title, number < OPEN))
            charts += [_line(f"{shown[-1]['uuid']}-{i}", shown[-1]["uuid"], *line) for i, line in enumerate(lines)]
    return {
        "searchFilter": FILTER,
        "orderByKey": "metrics.`score`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            "params.`cell`",
            "params.`model.depth`",
            "params.`optimizer`",
            "metrics.`score`",
            "metrics.`solved_at`",
            "metrics.`gradient_flow/horizon`",
            "tags.`outcome`",
        ],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": f"FIRST_{RUNS}_RUNS",  # else each chart asks for the points of every run of the list
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else sections are sorted by name
        "compareRunSections": shown,
        "compareRunCharts": charts,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "autoRefreshEnabled": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "chartsSearchFilter": "",
    }


def _outputs_first(name: str) -> tuple[bool, tuple[str | int, ...]]:
    """``h``, which every cell has, before the other states."""
    return not name.split("/")[1].endswith(".h"), by_layer(name)


def _section(uuid: str, name: str, shown: bool) -> dict[str, Any]:
    flags = {"isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": uuid, "name": name, "display": shown, **flags}


def _line(uuid: str, section: str, metric: str, scale: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "type": "LINE",
        "runsCountToCompare": RUNS,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": metric.removeprefix(f"{throughtime.SECTION}/"),
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "displayPoints": metric.split("/")[0] == "gradient_flow",
        "xAxisScaleType": "linear",
        "scaleType": scale,
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
