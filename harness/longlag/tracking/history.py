"""Every point that a run logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Point(NamedTuple):
    """One number of one series.

    Args:
        metric: the series, such as ``train/loss``.
        step: the update; for a curve through time the step t, for a curve by lag the lag.
        value: the number.
        time_ms: when it was measured, ms since 1970.
    """

    metric: str
    step: int
    value: float
    time_ms: int


def points(client: MlflowClient, run_id: str) -> list[Point]:
    """All points of a run, by series and step."""
    names = sorted(client.get_run(run_id).data.metrics)
    found = [metric for name in names for metric in client.get_metric_history(run_id, name)]
    return sorted(Point(m.key, int(m.step), float(m.value), int(m.timestamp)) for m in found)
