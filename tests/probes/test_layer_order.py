"""Networks of ten layers and more: layer 10 is above layer 9 wherever layers are put in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from longlag.papers import measurements
from longlag.probes.flow import by_layer
from longlag.tracking import throughtime, views

DEPTH = 12


class Logged:
    """A store with the curves of one run; each layer's norm is its number."""

    def __init__(self, prefix: str) -> None:
        self.names = [
            f"gradient_through_time/{prefix}layer{k}.{state}/{when}"
            for k in range(1, DEPTH + 1)
            for state in ("h", "c")
            for when in ("update_000000", "last")
        ]

    def series_names(self, run_id: str) -> list[str]:
        return sorted(self.names)

    def series(self, run_id: str, name: str) -> list[tuple[int, float]]:
        number = float(name.partition("layer")[2].partition(".")[0])
        return [(step, number) for step in (1, 2, 3)] if name in self.names else []


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_the_page_of_a_paper_shows_the_top_layer(prefix: str) -> None:
    store: Any = Logged(prefix)
    found = measurements.gradient_curves(store, "run")
    assert {norm for points in found.values() for _, norm in points} == {DEPTH} and set(found) == {"before", "after"}


def test_charts_and_files_without_an_order_have_the_layers_from_the_lowest_to_the_top() -> None:
    metrics = set(Logged("").names)
    shown = [chart["metricKey"] for chart in views.view(metrics)["compareRunCharts"] if ".h/last" in chart["metricKey"]]
    assert shown == [f"gradient_through_time/layer{k}.h/last" for k in range(1, DEPTH + 1)]
    arrays = {f"layer{k}.h/by_lag": np.ones((1, 2)) for k in range(1, DEPTH + 1)}
    assert list(throughtime.read(save(arrays))) == [f"layer{k}.h" for k in range(1, DEPTH + 1)]


def test_names_with_numbers_anywhere() -> None:
    names = ["10", "9", "layer2.h", "layer10.c", "layer10", "encoder.layer3.h", ""]
    assert sorted(names, key=by_layer) == ["", "9", "10", "encoder.layer3.h", "layer2.h", "layer10", "layer10.c"]
