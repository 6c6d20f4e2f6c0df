"""A run's series as a table that other programs read, and in short."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longlag.tracking.history import Point


def write_parquet(points: Sequence[Point], path: Path) -> None:
    """The columns metric, step, value, time_ms: one row a point."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "metric": pa.array([point.metric for point in points], pa.string()).dictionary_encode(),
        "step": pa.array([point.step for point in points], pa.int64()),
        "value": pa.array([point.value for point in points], pa.float64()),
        "time_ms": pa.array([point.time_ms for point in points], pa.timestamp("ms", tz="UTC")),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def summary(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """Of each series how many points it has, its first, last, smallest and largest with their steps."""
    result: dict[str, dict[str, Any]] = {}
    for name, group in itertools.groupby(points, key=lambda point: point.metric):
        rows = list(group)
        least, most = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
        said = {"first": rows[0], "last": rows[-1], "min": least, "max": most}
        result[name] = {"points": len(rows), **{k: {"step": p.step, "value": p.value} for k, p in said.items()}}
    return result
